"""What is outside: what forbids a start, and what `sidecar check log-shipper` finds: what would be shipped, and what
would fail.
"""

import os
from collections.abc import Iterator

from sidecars.kit.files import UnusableFile, unusable
from sidecars.runtime import Finding, Problem

from .core import preflight
from .core.bulk import Answer
from .core.choices import Output
from .core.reach import Identity, Reach, absences, refusals
from .sending.credentials import authorization, tls_context
from .sending.elastic import Elastic
from .settings import LogShipperSettings
from .tailing.discovery import Globs, owned

_NAMED = 10


def refuse_start(settings: LogShipperSettings) -> Iterator[Problem]:
    """Yield what forbids a start: something else than a file in the place of one that we write."""
    # A folder in the place of the checkpoint is never replaced, and no reason not to ship: it is done without, as on a
    # full disk.
    checkpoint = f"{settings.state_dir}/checkpoint.json"
    yield from unusable("state_dir", checkpoint, "remove it, or name another folder", {"a folder"})
    if settings.destination is Output.FILE:
        name_a_file = "name a file, a named pipe, or /dev/stdout"
        yield from unusable("output_path", settings.output_path, name_a_file, {"a named pipe", "a stream"})
    if settings.destination is Output.ELASTICSEARCH:
        for path in (settings.dead_letter_file, f"{settings.dead_letter_file}.1"):
            yield from unusable("dead_letter_path", path, "name a file", {"a stream"})


def findings(settings: LogShipperSettings) -> Iterator[Finding]:
    """Look at files and folders, and talk to nobody."""
    globs = Globs(settings.paths, settings.exclude, settings.own_files)
    found = globs.find()
    reach = globs.reach()
    yield from (Finding("error", text) for text in refusals(reach))
    yield from (Finding("warning", f"{text}; files are shipped when they appear") for text in absences(reach))
    for item in list(found.values())[:_NAMED]:
        readable = os.access(item.path, os.R_OK)
        text = f"would ship {item.path} ({item.size_bytes} bytes)" if readable else _unreadable(item.path)
        yield Finding("ok" if readable else "error", text)
    if len(found) > _NAMED:
        yield Finding("ok", f"and {len(found) - _NAMED} more files")
    yield _state_folder(settings.state_dir)
    if settings.destination is Output.ELASTICSEARCH:
        for use in (authorization, tls_context):
            try:
                use(settings)
            except UnusableFile as error:
                yield Finding("error", str(error))
        yield Finding("ok", f"ships to {settings.target} on {len(settings.elasticsearch_url)} Elasticsearch node(s)")
    else:
        to_file = settings.destination is Output.FILE
        yield Finding("ok", f"ships to {settings.output_path if to_file else settings.destination.value}")


async def elasticsearch_findings(settings: LogShipperSettings) -> list[Finding]:
    """Ask Elasticsearch: is it reachable, which version, credentials, may they write to the target."""
    if settings.destination is not Output.ELASTICSEARCH:
        return []
    elastic = Elastic(settings)
    try:
        found = await _asked(elastic, settings)
    except UnusableFile:  # `findings` says so
        return []
    finally:
        await elastic.close()
    return [Finding(each.level, each.text) for each in found]


async def _asked(elastic: Elastic, settings: LogShipperSettings) -> list[preflight.PreflightFinding]:
    found = preflight.nodes(await elastic.ask_all(preflight.WHO_IS_THERE))
    if not any(map(preflight.answers, found)):
        return found
    name = settings.target
    about_target = _first(await elastic.ask_all(preflight.which_blocks(name)))
    about_rights = _first(await elastic.ask_all(preflight.which_rights(name)))
    found += preflight.target(about_target, name, is_stream=not settings.index)
    found.append(preflight.rights(about_rights, name, exists=preflight.existence(about_target)))
    return found


def _first(answers: list[Answer]) -> Answer:
    """Return the answer of the first node that gave one."""
    return next((answer for answer in answers if answer.status), answers[0])


def _unreadable(path: str) -> str:
    there = owned(path)
    if there is None:
        return f"cannot read {path}"
    return refusals(Reach((), (), Identity(os.geteuid(), os.getegid()), (there,)))[0]


def _state_folder(folder: str) -> Finding:
    place = folder
    while not os.path.exists(place) and place != "/":
        place = os.path.dirname(place) or "/"
    if os.access(place, os.W_OK):
        return Finding("ok", f"keeps its checkpoint in {folder}")
    return Finding(
        "warning", f"cannot write {folder} (state_dir): would run without a checkpoint; mount a writable emptyDir there"
    )
