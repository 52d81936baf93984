"""See that the app took the content: ask a status URL until a value advances."""

from collections.abc import Awaitable, Callable

from sidecars.config_reloader.core.advance import Value, advanced, extract
from sidecars.config_reloader.core.steps import Confirm
from sidecars.kit.notify.core.change import Change
from sidecars.kit.notify.core.outcome import Outcome, Result
from sidecars.kit.notify.core.request import shown
from sidecars.kit.notify.webhook import fetch
from sidecars.runtime.clock import monotonic

_REQUEST_SECONDS = 5.0
"""The longest time for one request: a hung status page must not take all the time there is."""
_BEFORE_TRIES = 3
_SHOWN_CHARACTERS = 80


async def observe(step: Confirm, change: Change) -> Value | None:
    """Return the value before the app is notified; None when there is none, or nobody answers. An app that answers and
    cannot say it is asked again: with no value from before, any later one would be an advance.
    """
    for _ in range(_BEFORE_TRIES):
        seen = await _ask(step, change, step.timeout_seconds)
        if not isinstance(seen, _Nothing):
            return seen
        if seen.absent:
            break
    return None


async def wait(
    step: Confirm, change: Change, before: Value | None, pause: Callable[[float], Awaitable[None]]
) -> Outcome:
    """Ask every `interval_seconds` until the value advanced (OK) or the time is up (UNCONFIRMED)."""
    deadline = monotonic() + step.timeout_seconds
    equals = change.fill(step.equals)
    last, why = "", ""
    while (left_seconds := deadline - monotonic()) > 0:
        seen = await _ask(step, change, left_seconds)
        if isinstance(seen, _Nothing):
            if not (seen.cut and (last or why)):  # the last request has little time, and would hide what the others saw
                why = seen.why
        elif advanced(before, seen, equals):
            return Outcome(Result.OK, f"{_named(step)} at {shown(step.url)} is {_short(seen)}")
        else:
            last, why = f"it is {_short(seen)}", ""
        await pause(min(step.interval_seconds, max(0.0, deadline - monotonic())))
    wanted = f"did not become {_short(equals)}" if equals else "did not advance"
    seen_last = ", then: ".join(text for text in (last, why) if text)
    detail = f"{_named(step)} at {shown(step.url)} {wanted} within {step.timeout_seconds:g} s: {seen_last}"
    return Outcome(Result.UNCONFIRMED, detail)


class _Nothing:
    """No value, and why. `cut`: it had less time than a request should have. `absent`: nobody is there."""

    def __init__(self, why: str, *, cut: bool = False, absent: bool = False) -> None:
        self.why = why
        self.cut = cut
        self.absent = absent


async def _ask(step: Confirm, change: Change, left_seconds: float) -> Value | _Nothing:
    outcome, body = await fetch(step, change, min(_REQUEST_SECONDS, left_seconds))
    if not outcome.ok:
        cut = outcome.result is Result.TIMEOUT and left_seconds < _REQUEST_SECONDS
        return _Nothing(outcome.detail, cut=cut, absent=outcome.result is Result.UNREACHABLE)
    try:
        return extract(step, body)
    except ValueError as error:
        return _Nothing(str(error))


def _named(step: Confirm) -> str:
    return step.metric or step.json or f"what matches {step.text}"


def _short(value: Value) -> str:
    text = f"{value:.15g}" if isinstance(value, float) else str(value)
    shortened = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return "".join(character if character.isprintable() else " " for character in shortened)
