"""Logs: one JSON object per line on stderr (stdout belongs to the sidecar), with an `action` to search for; at a
terminal, lines for people.

Exists so that every line of every sidecar, and of the libraries it uses, has the same shape, and so that a log that
cannot be written never stops the work.
"""

import logging
import os
import traceback
from collections.abc import Callable

import msgspec

from sidecars.runtime.clock import monotonic, rfc3339
from sidecars.runtime.command.printing import STDERR

_RESERVED = ("time", "level", "sidecar", "action", "message", "error", "traceback")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_HIDES: dict[str, Callable[[str], str]] = {}


def hidden(value: object) -> object:
    """Return a value of a line without what a sidecar of this process must not show, at any depth."""
    if not _HIDES or value is None:
        return value
    if isinstance(value, dict):
        return {name: hidden(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [hidden(item) for item in value]
    text = made = value if isinstance(value, str) else str(value)
    for hide in _HIDES.values():
        made = hide(made)
    return value if made == text else made


def encode_json(value: object) -> bytes:
    """Encode anything as JSON; what JSON has no form for becomes its text."""
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError):  # lone surrogates (file names that are not UTF-8), odd keys
        import json  # seldom needed

        return json.dumps(value, default=str, skipkeys=True).encode()


class JsonFormatter(logging.Formatter):
    """Turns a record, ours or a library's, into one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        fields: dict[str, object] = getattr(record, "fields", {})
        line: dict[str, object] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "sidecar": getattr(record, "sidecar", "-"),
            "action": getattr(record, "action", f"library.{record.name}"),
            "message": hidden(record.getMessage()),
        }
        line.update((f"field_{name}" if name in _RESERVED else name, hidden(value)) for name, value in fields.items())
        if record.exc_info and (error := record.exc_info[1]):
            line["error"] = hidden(f"{type(error).__name__}: {error}")
            line["traceback"] = hidden("".join(traceback.format_exception(error)))
        return encode_json(line).decode()


class PeopleFormatter(logging.Formatter):
    """Turns a record into a line for people: `12:00:01 info shipped the batch (bulk.done records=5)`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback when there is one. Whatever could steer the terminal is
        escaped.
        """
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        error = record.exc_info[1] if record.exc_info else None
        if error:
            fields["error"] = f"{type(error).__name__}: {error}"
        words = [getattr(record, "action", f"library.{record.name}")]
        words += [f"{name}={_word(hidden(value))}" for name, value in fields.items()]
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower()} "
        line += f"{_printable(str(hidden(record.getMessage())))} ({' '.join(words)})"
        frames = str(hidden("".join(traceback.format_exception(error)))).splitlines() if error else []
        return "\n".join([line, *map(_printable, frames)])


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _word(value: object) -> str:
    text = value if isinstance(value, str) else encode_json(value).decode()
    return text if text.isprintable() and " " not in text else repr(text)


class StderrHandler(logging.Handler):
    """Writes each record as one line, patiently."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        STDERR.write(self.format(record) + "\n")


def configure() -> None:
    """Send everything logged in this process through our formatter; libraries from warning level up. JSON, but for
    somebody at a terminal.
    """
    logging.raiseExceptions = False
    handler = StderrHandler()
    handler.setFormatter(PeopleFormatter() if os.isatty(2) else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


class Log:
    """The log of one sidecar: `log.info("shipped the batch", action="bulk.done", records=5)`."""

    def __init__(self, sidecar: str, level: str = "info", clock: Callable[[], float] = monotonic) -> None:
        self._sidecar = sidecar
        self._clock = clock
        self._logger = logging.getLogger(f"sidecar.{sidecar}")
        self._logger.setLevel(_LEVELS[level])
        self._last: dict[str, tuple[float, int]] = {}  # action -> when last written, how many held back since

    def info(self, message: str, *, action: str, **fields: object) -> None:
        """Log something that happened as it should."""
        self._write(logging.INFO, message, action, fields)

    def warning(self, message: str, *, action: str, **fields: object) -> None:
        """Log something that somebody should look at some day."""
        self._write(logging.WARNING, message, action, fields)

    def error(self, message: str, *, action: str, **fields: object) -> None:
        """Log something that somebody should look at now."""
        self._write(logging.ERROR, message, action, fields)

    def redact(self, hide: Callable[[str], str]) -> None:
        """Pass every text of every line of this process through `hide` from now on, also tracebacks and what libraries
        log. The fixed fields (time, level, sidecar, action) stay.
        """
        _HIDES[self._sidecar] = hide

    def _write(self, level: int, message: str, action: str, fields: dict[str, object]) -> None:
        """Write one line. Two fields have a meaning: `error` (an exception: its text and traceback) and `every_seconds`
        (at most one line per action and period).
        """
        if not self._logger.isEnabledFor(level):
            return
        every_seconds = fields.pop("every_seconds", None)
        if isinstance(every_seconds, int | float):
            held_back = self._held_back(action, every_seconds)
            if held_back is None:
                return
            if held_back:
                fields["held_back"] = held_back
        error = fields.pop("error", None)
        if error is not None and not isinstance(error, BaseException):
            fields["error_text"] = str(error)
            error = None
        extra = {"sidecar": self._sidecar, "action": action, "fields": fields}
        self._logger.log(level, "%s", message, exc_info=error, extra=extra)

    def _held_back(self, action: str, every_seconds: float) -> int | None:
        """Return how many lines were held back since the last one of this action, or None when this one is to be held
        back too.
        """
        at = self._clock()
        last_at, held_back = self._last.get(action, (-float("inf"), 0))
        if at - last_at < every_seconds:
            self._last[action] = (last_at, held_back + 1)
            return None
        self._last[action] = (at, 0)
        return held_back
