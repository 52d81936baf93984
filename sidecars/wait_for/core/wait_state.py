"""The state of each target, what follows for the whole wait, and how that is said."""

from enum import StrEnum

_REASON_CHARACTERS = 200


class TargetState(StrEnum):
    """The state of one target."""

    WAITING = "waiting"
    READY = "ready"
    HOPELESS = "hopeless"
    """It can never become ready."""


class End(StrEnum):
    """How the waiting ended."""

    READY = "ready"
    TIMED_OUT = "timed out"
    HOPELESS = "hopeless"
    INTERRUPTED = "interrupted"


class WaitState:
    """The state of each target, by its place in the list, with the last reason why it was blocked."""

    def __init__(self, shown: tuple[str, ...], *, any_suffices: bool) -> None:
        self._shown = shown
        self._any = any_suffices
        self._states = [TargetState.WAITING] * len(shown)
        self._reasons = ["no answer yet"] * len(shown)

    def blocked(self, place: int, reason: str) -> None:
        """Note why a target is not ready yet."""
        self._reasons[place] = _line(reason)

    def ready(self, place: int) -> None:
        """Note that a target is ready."""
        self._states[place] = TargetState.READY

    def hopeless(self, place: int, reason: str) -> None:
        """Note why a target can never become ready."""
        self._states[place] = TargetState.HOPELESS
        self._reasons[place] = _line(reason)

    def end(self) -> End | None:
        """Return how the wait ends; None as long as waiting makes sense."""
        enough, lost = (any, all) if self._any else (all, any)
        if enough(state is TargetState.READY for state in self._states):
            return End.READY
        return End.HOPELESS if lost(state is TargetState.HOPELESS for state in self._states) else None

    @property
    def blocking(self) -> list[dict[str, str]]:
        """Return the targets that are not ready, each with its reason, for the log's fields."""
        rows = zip(self._shown, self._states, self._reasons, strict=True)
        return [{"target": shown, "reason": reason} for shown, state, reason in rows if state is not TargetState.READY]

    def progress(self, waited_seconds: float) -> str:
        """Return the line that says what is still missing."""
        return f"still waiting after {waited_seconds:.0f} s for {self._missing}"

    def explanation(self, end: End, waited_seconds: float) -> str:
        """Return for people why the waiting ended, other than with success."""
        if end is End.HOPELESS:
            rows = zip(self._shown, self._states, self._reasons, strict=True)
            lost = [f"{shown} ({reason})" for shown, state, reason in rows if state is TargetState.HOPELESS]
            return f"cannot go on: this can never become ready, correct it: {', '.join(lost)}"
        why = "interrupted" if end is End.INTERRUPTED else "timed out"
        return f"cannot go on: {why} after {round(waited_seconds, 1):g} s waiting for {self._missing}"

    @property
    def _missing(self) -> str:
        """Return `2 of 3: tcp://db:5432 (connection refused), ...`."""
        blocking = self.blocking
        count = "one" if self._any else str(len(blocking))
        return f"{count} of {len(self._shown)}: " + ", ".join(f"{row['target']} ({row['reason']})" for row in blocking)


def _line(reason: str) -> str:
    """Make one short printable line of a reason: parts of it may come from the other side."""
    text = "".join(c if c.isprintable() else " " for c in reason)
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]}..."
