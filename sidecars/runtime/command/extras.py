"""Whether the packages of a sidecar are installed: each has an extra of its own (`pip install 'sidecars[NAME]'`).

Exists because `pip install sidecars` alone installs what all have in common, and somebody who then starts a sidecar
must read the name of the extra, not a traceback.
"""

import re

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*).*;\s*extra\s*==\s*['\"]([A-Za-z0-9._-]+)['\"]", re.DOTALL)


def remedy(name: str) -> str:
    """Return how to install what a sidecar needs."""
    return f"pip install 'sidecars[{name}]' (in a clone: pip install '.[{name}]')"


def missing(name: str) -> list[str]:
    """Return the packages of a sidecar's extra that are not installed. Nothing where that is not known: in a clone that
    was not installed.
    """
    from importlib import metadata  # 2 MiB, only for the overview

    try:
        declared = metadata.requires("sidecars") or []
    except metadata.PackageNotFoundError:
        return []
    found = [match for line in declared if (match := _REQUIREMENT.fullmatch(line))]
    return [match[1] for match in found if match[2] == name and not _installed(match[1])]


def _installed(package: str) -> bool:
    from importlib import metadata  # as above

    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def explain(name: str, error: ModuleNotFoundError) -> str:
    """Return the message for people when a module of a library could not be imported."""
    package = (error.name or "").partition(".")[0]
    return f"cannot run {name}: it needs the package {package}, which is not installed; {remedy(name)}"
