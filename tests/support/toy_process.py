"""Runs toys as a sidecar process is run: `python -m tests.support.toy_process NAME [NAME ...] [FLAGS]`.

Signals are caught before anything heavy is imported, as sidecars/__main__.py does for the real ones.
"""

import itertools
import sys

from sidecars.runtime.life.signals import SIGNALS


def main(words: list[str]) -> int:
    """Run the toys named in front; `check`, `schema` or `reference` first runs that verb on one."""
    SIGNALS.listen()
    from sidecars.runtime import run
    from sidecars.runtime.settings import environment

    environment.settle()
    from tests.support.toy_oneshots import ONESHOTS

    if words[0] in ONESHOTS and words[1:2] not in (["idle"], ["greedy"]):  # a test looks at what such a process imports
        return run(ONESHOTS[words[0]], words[1:])
    from sidecars.runtime.command.verbs import run_verb
    from tests.support.toys import TOYS

    known = {**TOYS, **ONESHOTS}
    if words[0] not in known:
        return run_verb(words[0], known[words[1]], words[2:])
    names = list(itertools.takewhile(known.__contains__, words))
    return run([known[name] for name in names], words[len(names) :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
