"""The reason of an end without success, where `kubectl describe pod` shows it."""

from sidecars.runtime import Log
from sidecars.runtime.life.status import leave as leave_message

from .probing.words import words


def leave(path: str, message: str, log: Log) -> None:
    """Write the message; that it cannot be written is only worth a warning."""
    try:
        leave_message(path, message)
    except OSError as error:
        log.warning(f"cannot write {path}: {words(error)}", action="termination.failed")
