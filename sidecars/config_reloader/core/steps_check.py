"""What is wrong with a step beyond its types."""

from collections.abc import Iterator, Sequence

from sidecars.kit.notify.core.options import Exec, Http, Signal
from sidecars.kit.notify.core.problems import Complaint, command_problems, pattern_problems, problems

from .advance import faults as advance_faults
from .steps import Confirm, Step, Validate


def complaints(step: Step, *, renders: bool) -> Iterator[Complaint]:
    """Return everything that is wrong with it."""
    given = [name for name in step.__struct_fields__ if getattr(step, name) is not None]
    if len(given) != 1:
        what = f"it has {len(given)} keys ({', '.join(given)})" if given else "it has no key"
        yield "", what, "give each step exactly one of validate, signal, webhook, exec, confirm"
        return
    name, options = given[0], getattr(step, given[0])
    for field, message, remedy in _problems(options, renders=renders):
        yield f"{name}.{field}".removesuffix("."), message, remedy


def without_before(steps: Sequence[Step]) -> Iterator[tuple[int, str, str]]:
    """Yield (place, message, remedy) of each confirm that has nothing to compare with: the value from before is that
    which was seen before the app was notified.
    """
    notified = False
    for place, step in enumerate(steps):
        notified = notified or bool(step.signal or step.webhook or step.exec)
        if step.confirm is not None and not (notified or step.confirm.equals):
            message = "no step before it notifies the app: without a value from before, any would count as an advance"
            yield place, message, "put a signal, webhook or exec before it, or set `equals` to what the value must be"


def _problems(options: Http | Signal | Exec, *, renders: bool) -> Iterator[Complaint]:
    if isinstance(options, Validate) and options.command:
        yield from command_problems(options.command)
        if options.url:
            yield "url", "both a command and a url are given", "give one of them, or make two steps"
        return
    yield from problems(options)
    if isinstance(options, Confirm):
        yield from _confirm(options, renders=renders)


def _confirm(step: Confirm, *, renders: bool) -> Iterator[Complaint]:
    yield from advance_faults(step)
    given = [name for name in ("metric", "json", "text") if getattr(step, name)]
    if len(given) != 1:
        message = f"it names {len(given)} values ({', '.join(given)})" if given else "it names no value"
        yield "", message, "give exactly one of metric, json and text: what advances on a reload"
    yield from pattern_problems("text", step.text)
    if step.rollback and not renders:
        yield "rollback", "there is no generation to put back", "set `render`, whose output the app reads"
