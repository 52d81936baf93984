"""Look around: find what forbids a start, and for `sidecar check config-reloader` what would be watched and notified,
and what would fail.
"""

import fnmatch
import os
import shutil
from collections.abc import Iterator

from sidecars.kit.files import unusable
from sidecars.kit.notify import exec as command
from sidecars.kit.notify import signal as signalling
from sidecars.kit.notify.core.options import Http
from sidecars.kit.notify.core.request import shown
from sidecars.runtime import Finding, Problem
from sidecars.runtime.settings.environment import process_environment

from .core.snapshot import EntryState, Snapshot, clash
from .core.steps import Render, Step
from .rendering import render as rendering
from .settings import ConfigReloaderSettings
from .watching import volume
from .watching.mounts import frozen


def refuse_start(settings: ConfigReloaderSettings) -> Iterator[Problem]:
    """Yield what forbids a start: a path that must not be written, a command that a shell would have to split."""
    yield from unusable("state_file", settings.state_file, "name a file, or leave it out to remember nothing")
    yield from _written_where_watched(settings)
    for number, step in enumerate(settings.steps):
        yield from _several_words(f"steps[{number}].exec.command", step.exec.command if step.exec else ())
        yield from _several_words(f"steps[{number}].validate.command", step.validate.command if step.validate else ())


def _written_where_watched(settings: ConfigReloaderSettings) -> Iterator[Problem]:
    """Refuse to write what is watched: each reload would be the reason for the next."""
    written = {"state_file": settings.state_file, "render": settings.render.output if settings.render else ""}
    for path in settings.watched:
        for field, ours in written.items():
            if ours and path.strip() and _lies_in(ours, path):
                yield Problem(field, f"{ours} lies in {path}, which is watched", "write to a folder of its own")


def _lies_in(ours: str, watched: str) -> bool:
    """Return whether what we write is, or is below, what is watched. A glob may well leave it out."""
    if any(letter in watched for letter in "*?["):
        return fnmatch.fnmatchcase(os.path.realpath(ours), watched)
    ours, watched = os.path.realpath(ours), os.path.realpath(watched)
    return ours == watched or ours.startswith(watched.rstrip("/") + "/")


def _several_words(field: str, command: tuple[str, ...]) -> Iterator[Problem]:
    """Refuse a command as one text, which no shell splits here. The name of a program may hold a blank."""
    words = command[0].split() if command else []
    if len(words) > 1 and shutil.which(command[0]) is None:
        message = f"it begins with {len(words)} words in one text, and there is no shell that would split them"
        # The other words stay out of sight: an argument may be a secret.
        remedy = f'write the program and each argument as an item of a list: ["{words[0]}", "...", ...]'
        yield Problem(field, message, remedy)


def findings(settings: ConfigReloaderSettings) -> Iterator[Finding]:
    """Look at files, mounts and processes; talk to nobody and send nothing."""
    yield from _watch(settings)
    for step in settings.all_steps:
        yield Finding("ok", f"would {step_text(step)}")
        yield from _step(step)
    output = settings.render.output if settings.render else ""
    for path, folder in ((settings.state_file, os.path.dirname(settings.state_file)), (output, output)):
        if path and not _writable(folder):
            yield Finding("error", f"cannot write {path}: mount a writable volume there")


def step_text(step: Step) -> str:
    """Return what a step does, in one line, without credentials: for `check` and /status."""
    if step.signal is not None:
        named = [
            f"{name} {value}"
            for name in ("process", "comm", "argv", "uid", "pidfile")
            if (value := getattr(step.signal, name)) not in ("", None)
        ]
        return f"signal {step.signal.signal} to {', '.join(named)}"
    if step.webhook is not None:
        return f"webhook {step.webhook.method.upper()} {shown(step.webhook.url)}"
    if step.exec is not None:
        return f"exec {step.exec.command[0]}"
    if step.validate is not None:
        return f"validate by {step.validate.command[0] if step.validate.command else shown(step.validate.url)}"
    if step.confirm is not None:
        what = step.confirm.metric or step.confirm.json or step.confirm.text
        return f"confirm {what} at {shown(step.confirm.url)}"
    return "do nothing"


def _watch(settings: ConfigReloaderSettings) -> Iterator[Finding]:
    rules = settings.render
    bounds = volume.Bounds(settings.max_files, settings.max_bytes)
    snapshot = volume.take(settings.watched, bounds, contents=rules is not None)
    for entry in snapshot.entries:
        if entry.state is EntryState.OK and not entry.files:
            yield Finding(
                "warning", f"would watch {entry.path} ({entry.kind}), where no file is; mount there what the app reads"
            )
        elif entry.state is EntryState.OK:
            yield Finding("ok", f"would watch {entry.path} ({entry.kind}, {entry.files} files)")
        elif entry.state is EntryState.MISSING:
            yield Finding("warning", f"{entry.path} is not there yet; it is watched when it appears")
        else:
            yield Finding("error", f"cannot watch {entry.path}: {entry.too_large or entry.state.value}")
    for path in snapshot.unreadable:
        # A generation without a file that is there would be another configuration.
        yield Finding("error" if rules else "warning", f"cannot read {path.path}: {path.reason}")
    for item in frozen(settings.watched):
        yield Finding("error", f"cannot see changes of {item.path}: {item.reason}")
    if rules and snapshot.whole and not snapshot.unreadable:
        yield from _rendered(snapshot, rules)


def _rendered(snapshot: Snapshot, rules: Render) -> Iterator[Finding]:
    """Render what is there, and write nothing."""
    if snapshot.clashes:
        yield Finding("error", f"cannot render: {clash(snapshot)}")
        return
    try:
        files = rendering.render(snapshot.files, rules, process_environment())
    except rendering.Unrenderable as error:
        yield Finding("error", str(error))
    else:
        yield Finding("ok", f"would render {len(files)} files into {rules.output}")


def _step(step: Step) -> Iterator[Finding]:
    if step.signal is not None:
        for level, text in signalling.findings(step.signal):
            yield Finding(level, text)
    for options in (step.exec, step.validate):
        if options is not None and options.command:
            for level, text in command.findings(options.command):
                yield Finding(level, text)
    for http in (step.webhook, step.validate, step.confirm):
        if isinstance(http, Http):
            for field in (
                "bearer_token_file",
                "password_file",
                "ca_file",
                "client_certificate_file",
                "client_key_file",
            ):
                path = getattr(http, field)
                if path and not os.access(path, os.R_OK):
                    yield Finding("error", f"cannot read {path} ({field})")


def _writable(folder: str) -> bool:
    """Return whether files can be made there, after the folder itself if need be: both are written by rename."""
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
