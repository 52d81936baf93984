"""Runs toys as a sidecar process is run: `python -m tests.support.toy_process NAME [NAME ...] [FLAGS]`.

Signals are caught before anything heavy is imported, as sidecars/__main__.py does for the real ones.
"""

import sys

from sidecars.__main__ import catch_early


def main(words: list[str]) -> int:
    """Run the toys named in front; `check`, `schema` or `reference` first runs that verb on one."""
    early: list[int] = []
    catch_early(early)
    from sidecars.runtime import run
    from sidecars.runtime.verbs import run_verb
    from tests.support.toys import TOYS

    if words[0] not in TOYS:
        return run_verb(words[0], TOYS[words[1]], words[2:])
    names = [word for word in words if word in TOYS]
    return run([TOYS[name] for name in names], words[len(names) :], early)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
