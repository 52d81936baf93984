"""`--setup`: make the index template of the data stream, or bring it up to date; changes nothing the second time.

Runs once (an init container, or a person). It speaks plain JSON over the connections of the running agent: the official
client refuses OpenSearch, and Elasticsearch refuses an official client that is newer than itself.
"""

import re
import sys
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from sidecars.kit.files import UnusableFile
from sidecars.log_shipper.core.bulk import Answer, whole_refusal
from sidecars.log_shipper.core.index_template import (
    FAILURE_STORE,
    FLAT_OBJECTS,
    RETENTION,
    Json,
    Target,
    TemplateParts,
    losses,
    outdated,
    refused_part,
    template,
)
from sidecars.log_shipper.core.preflight import WHO_IS_THERE, Question, product
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import ExitStatus, Problem, SettingsError

from .elastic import Elastic

_UNKNOWN = (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED)
"""What a server answers to a request that it does not know."""


_Shape = TypeVar("_Shape")


class _FoundTemplate(msgspec.Struct):
    index_template: Json


class _FoundTemplates(msgspec.Struct):
    index_templates: list[_FoundTemplate]


class _StreamLifecycle(msgspec.Struct):
    data_retention: str = ""


class _FailureStore(msgspec.Struct):
    enabled: bool = True


class _StreamState(msgspec.Struct):
    lifecycle: _StreamLifecycle | None = None
    failure_store: _FailureStore | None = None


class _StreamStates(msgspec.Struct):
    data_streams: list[_StreamState]


class _SetupRefused(Exception):
    """Elasticsearch did not let us; the text says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(_explained(answer))


async def set_up(settings: LogShipperSettings) -> int:
    """Create or update the template, say what changed, return the exit status: FAILED when the server said no."""
    if not settings.elasticsearch_url:
        raise SettingsError(
            [Problem("elasticsearch_url", "no address is known", "set it, such as http://elasticsearch:9200")]
        )
    if settings.index:
        print(f"nothing to set up: {settings.index} is a plain index (index), and templates are for data streams")
        return ExitStatus.DONE
    elastic = Elastic(settings)
    try:
        for line in await _TemplateSetup(elastic, settings).run():
            print(line)
    except (_SetupRefused, UnusableFile) as error:
        print(f"cannot set up {settings.data_stream}: {error}", file=sys.stderr)
        return ExitStatus.FAILED
    finally:
        await elastic.close()
    return ExitStatus.DONE


def template_name(data_stream: str) -> str:
    """Return the name of the template: there is one for each data stream."""
    return "sidecars-" + re.sub(r"[^a-z0-9_.-]", "-", data_stream)


class _TemplateSetup:
    """The steps on one server; `left_out` grows by what it does not know."""

    def __init__(self, elastic: Elastic, settings: LogShipperSettings) -> None:
        self._elastic = elastic
        self._target = Target(settings.data_stream, settings.retention)
        self._name = template_name(settings.data_stream)
        self._left_out: TemplateParts = frozenset()

    async def run(self) -> list[str]:
        """Return lines that say what was done. Raises _SetupRefused, UnusableFile."""
        server = product(await self._ask("GET", WHO_IS_THERE.path))
        if server.startswith("Elasticsearch"):
            self._left_out |= {FLAT_OBJECTS}
        changed = await self._apply_template()
        said = list(filter(None, [self._outcome(changed)]))
        said += await self._apply_to_stream(changed or [])
        if not said:
            said = [f"the index template {self._name} is as it should be; nothing changed"]
        unknown = f"left out, as {server or 'this server'} does not know it: "
        return [*said, *(unknown + loss for loss in losses(self._left_out))]

    def _outcome(self, changed: list[str] | None) -> str:
        if changed is None:
            return f"created the index template {self._name} for the data stream {self._target.data_stream}"
        return f"updated the index template {self._name}: {', '.join(changed)}" if changed else ""

    async def _apply_template(self) -> list[str] | None:
        """Return the names of what was not as it should be; None when there was no template. What the server refuses as
        unknown is left out, until it takes the rest or has it already.
        """
        path = f"/_index_template/{self._name}"
        present = await self._present(path)
        while True:
            changed = None if present is None else outdated(self._target, self._left_out, present)
            if changed == []:
                return changed
            answer = await self._ask("PUT", path, template(self._target, self._left_out))
            if answer.status == 200:
                return changed
            reply = answer.body.decode(errors="replace")
            part = refused_part(reply, self._left_out) if answer.status == HTTPStatus.BAD_REQUEST else None
            if part is None:
                raise _SetupRefused(answer)
            self._left_out |= {part}

    async def _present(self, path: str) -> Json | None:
        answer = await self._ask("GET", path)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        found = _decoded(answer, _FoundTemplates).index_templates
        return found[0].index_template if found else None

    async def _apply_to_stream(self, changed: list[str]) -> list[str]:
        """Give a stream that exists already the lifecycle and options of the template: it keeps its own. Its mapping
        follows at its rollover.
        """
        name, retention = self._target.data_stream, self._target.retention
        path = f"/_data_stream/{quote(name)}"
        answer = await self._ask("GET", path)
        if answer.status in (HTTPStatus.NOT_FOUND, *_UNKNOWN):
            return []
        stream = next(iter(_decoded(answer, _StreamStates).data_streams), _StreamState())
        said: list[str] = []
        keeps = stream.lifecycle.data_retention if stream.lifecycle else ""
        lifecycle = {"enabled": True, **({"data_retention": retention} if retention else {})}
        if keeps != retention and RETENTION not in self._left_out and await self._put(f"{path}/_lifecycle", lifecycle):
            said.append(f"set the retention of the data stream {name} to {retention or 'for ever'}")
        if stream.failure_store and not stream.failure_store.enabled:
            said += await self._switch_on_failure_store(path)
        if any(part.startswith(("template.mappings", "template.settings")) for part in changed):
            said.append(f"{name} keeps its present mapping until it rolls over: POST /{name}/_rollover does it now")
        return said

    async def _switch_on_failure_store(self, path: str) -> list[str]:
        """Return what came of it. It takes a privilege that nothing else here needs, and is not worth failing for."""
        where = f"the failure store of the data stream {self._target.data_stream}"
        if FAILURE_STORE in self._left_out:
            return []
        try:
            done = await self._put(f"{path}/_options", {"failure_store": {"enabled": True}})
        except _SetupRefused as refusal:
            return [f"{where} stays off: {refusal}"]
        return [f"switched on {where}"] if done else []

    async def _put(self, path: str, body: Json) -> bool:
        """Return whether the server knows the request, and did it."""
        answer = await self._ask("PUT", path, body)
        if answer.status in _UNKNOWN:
            return False
        _decoded(answer, dict[str, Any])
        return True

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Answer:
        answer = await self._elastic.ask_any(Question(method, path, msgspec.json.encode(body) if body else b""))
        if answer.status == 0:
            raise _SetupRefused(answer)
        return answer


def _decoded(answer: Answer, shape: type[_Shape]) -> _Shape:
    """Return the body of a success. Raises _SetupRefused."""
    if answer.status != HTTPStatus.OK:
        raise _SetupRefused(answer)
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeError):
        detail = f"{answer.url} answers, but not as Elasticsearch does"
        raise _SetupRefused(Answer(0, detail=detail)) from None


def _explained(answer: Answer) -> str:
    """Return what a person needs: the server's reason, or that it was not reached; never the credentials."""
    if answer.status == 0:
        return f"{answer.detail} (check elasticsearch_url)"
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: redirected to {answer.location} (set elasticsearch_url to it)"
    refusal = whole_refusal(answer)
    named = "" if refusal.type == "unknown" else f"{refusal.type}: "
    privileges = "manage_index_templates, and on the data stream view_index_metadata, manage_data_stream_lifecycle"
    denied = answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    hint = f" (check the credentials and their privileges: {privileges})" if denied else ""
    return f"HTTP {answer.status}: {named}{refusal.reason}{hint}"
