"""What to say when packages of a sidecar are not installed: each sidecar has an extra (`pip install 'sidecars[NAME]'`).

Exists because `pip install sidecars` alone installs what all have in common, and somebody who then starts a sidecar
must read the name of the extra, not a traceback.
"""

from collections.abc import Iterable


def remedy(name: str) -> str:
    """Return how to install what a sidecar needs."""
    return f"pip install 'sidecars[{name}]' (in a clone: pip install '.[{name}]')"


def missing(libraries: Iterable[str]) -> list[str]:
    """Return those of a sidecar's declared libraries that are not installed."""
    from importlib import metadata  # 2 MiB, only for the overview

    return [library for library in libraries if not list(metadata.distributions(name=library))]


def explain(name: str, error: ModuleNotFoundError) -> str:
    """Return the message for people when a module of a library could not be imported."""
    package = (error.name or "").partition(".")[0]
    return f"cannot run {name}: it needs the package {package}, which is not installed; {remedy(name)}"
