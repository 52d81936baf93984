"""What is wrong with a step beyond its types."""

from collections.abc import Iterator, Sequence

from sidecars.kit.http_match import pattern_fault
from sidecars.kit.notify.core.options import Exec, Http, Signal
from sidecars.kit.notify.core.request import problems as http_problems
from sidecars.kit.notify.core.selection import number

from .advance import faults as advance_faults
from .steps import Confirm, Step, Validate

Complaint = tuple[str, str, str]
"""Path below the step, message, remedy."""
_AS_A_LIST = 'write the program and its arguments as a list: ["nginx", "-t"]'


def complaints(step: Step, *, renders: bool) -> Iterator[Complaint]:
    """Return everything that is wrong with it."""
    given = [name for name in step.__struct_fields__ if getattr(step, name) is not None]
    if len(given) != 1:
        what = f"it has {len(given)} keys ({', '.join(given)})" if given else "it has no key"
        yield "", what, "give each step exactly one of validate, signal, webhook, exec, confirm"
        return
    name, options = given[0], getattr(step, given[0])
    if isinstance(options, Exec | Validate) and options.command and not options.command[0].split():
        yield f"{name}.command", "the program has no name", _AS_A_LIST
    if isinstance(options, Signal):
        yield from _signal(options)
    elif isinstance(options, Exec):
        if not options.command:
            yield f"{name}.command", "it is empty", _AS_A_LIST
    elif isinstance(options, Validate) and options.command:
        if options.url:
            yield f"{name}.url", "both a command and a url are given", "give one of them, or make two steps"
    elif isinstance(options, Http):
        yield from http_problems(options, name)
    if isinstance(options, Confirm):
        yield from _confirm(options, renders=renders)


def without_before(steps: Sequence[Step]) -> Iterator[tuple[int, str, str]]:
    """Yield (place, message, remedy) of each confirm that has nothing to compare with: the value from before is that
    which was seen before the app was told.
    """
    told = False
    for place, step in enumerate(steps):
        told = told or bool(step.signal or step.webhook or step.exec)
        if step.confirm is not None and not (told or step.confirm.equals):
            message = "no step before it tells the app: without a value from before, any would count as an advance"
            yield place, message, "put a signal, webhook or exec before it, or set `equals` to what the value must be"


def _signal(step: Signal) -> Iterator[Complaint]:
    try:
        number(step.signal)
    except ValueError as error:
        yield "signal.signal", str(error), "write a name such as SIGHUP or USR1"
    if not (step.process or step.comm or step.argv or step.pidfile or step.uid is not None):
        yield "signal", "no process is named", "set process, comm, argv, uid or pidfile"
    yield from _pattern("signal.argv", step.argv)


def _confirm(step: Confirm, *, renders: bool) -> Iterator[Complaint]:
    for field, message, remedy in advance_faults(step):
        yield f"confirm.{field}", message, remedy
    given = [name for name in ("metric", "json", "text") if getattr(step, name)]
    if len(given) != 1:
        message = f"it names {len(given)} values ({', '.join(given)})" if given else "it names no value"
        yield "confirm", message, "give exactly one of metric, json and text: what advances on a reload"
    yield from _pattern("confirm.text", step.text)
    if step.rollback and not renders:
        yield "confirm.rollback", "there is no generation to put back", "set `render`, whose output the app reads"


def _pattern(path: str, text: str) -> Iterator[Complaint]:
    if fault := pattern_fault(text):
        yield path, f"it is no regular expression: {fault}", "correct it, or put a \\ before signs meant literally"
