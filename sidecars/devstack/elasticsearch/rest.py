"""The REST interface apart from bulk: templates, data streams, indices, documents, search, health."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from . import filter_path
from .errors import JsonObject, bad_request
from .search import Searcher
from .store import Store
from .templates import listed, stored_lifecycle

VERSION = "9.5.3"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_encode = msgspec.json.Encoder().encode
_ACKNOWLEDGED: JsonObject = {"acknowledged": True}


class Rest:
    """Handlers over one store; each turns a request into a JSON value or raises a RestError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._searcher = Searcher(store)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds every route, the general `/{index}` last."""
        for methods, path, handler in self._table():
            for method in methods.split():
                router.add_route(method, path, handler)

    def _table(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET HEAD", "/", self._info),
            ("GET", "/_cluster/health", self._health),
            ("PUT", "/_cluster/settings", self._put_cluster_settings),
            ("POST", "/_aliases", self._change_aliases),
            ("GET POST", "/_search", self._search),
            ("GET POST", "/_count", self._count),
            ("GET POST", "/_refresh", self._refresh),
            ("GET", "/_index_template", self._get_templates),
            ("GET HEAD", "/_index_template/{name}", self._get_templates),
            ("PUT POST", "/_index_template/{name}", self._put_template),
            ("DELETE", "/_index_template/{name}", self._delete_template),
            ("GET HEAD", "/_component_template/{name}", self._get_components),
            ("PUT POST", "/_component_template/{name}", self._put_component),
            ("DELETE", "/_component_template/{name}", self._delete_component),
            ("GET", "/_data_stream", self._get_streams),
            ("GET", "/_data_stream/{name}", self._get_streams),
            ("PUT", "/_data_stream/{name}", self._put_stream),
            ("DELETE", "/_data_stream/{name}", self._delete_stream),
            ("GET", "/_data_stream/{name}/_lifecycle", self._get_lifecycle),
            ("PUT", "/_data_stream/{name}/_lifecycle", self._put_lifecycle),
            ("DELETE", "/_data_stream/{name}/_lifecycle", self._delete_lifecycle),
            ("GET", "/_data_stream/{name}/_options", self._get_options),
            ("PUT", "/_data_stream/{name}/_options", self._put_options),
            ("GET POST", "/{target}/_search", self._search),
            ("GET POST", "/{target}/_count", self._count),
            ("GET POST", "/{target}/_refresh", self._refresh),
            ("GET", "/{target}/_mapping", self._get_mapping),
            ("PUT", "/{target}/_settings", self._put_settings),
            ("POST", "/{target}/_close", self._close),
            ("POST", "/{target}/_open", self._open),
            ("GET HEAD", "/{target}/_doc/{id}", self._get_document),
            ("GET HEAD", "/{target}", self._get_index),
            ("PUT", "/{target}", self._put_index),
            ("DELETE", "/{target}", self._delete_index),
        ]

    async def _info(self, request: web.Request) -> web.Response:
        version = {
            "number": VERSION,
            "build_flavor": "default",
            "lucene_version": "10.3.0",
            "minimum_wire_compatibility_version": "8.19.0",
            "minimum_index_compatibility_version": "8.0.0",
        }
        about = {"name": "devstack", "cluster_name": "devstack", "cluster_uuid": "devstack", "version": version}
        return answer(request, about | {"tagline": "You Know, for Search"})

    async def _health(self, request: web.Request) -> web.Response:
        nodes = {"number_of_nodes": 1, "number_of_data_nodes": 1, "active_shards": len(self._store.indices)}
        return answer(request, {"cluster_name": "devstack", "status": "green", "timed_out": False} | nodes)

    async def _search(self, request: web.Request) -> web.Response:
        return answer(request, await self._searcher.search(_target(request), await _question(request)))

    async def _count(self, request: web.Request) -> web.Response:
        count = await self._searcher.count(_target(request), await _question(request))
        return answer(request, {"count": count, "_shards": self._shards(request)})

    async def _refresh(self, request: web.Request) -> web.Response:
        return answer(request, {"_shards": self._shards(request)})

    def _shards(self, request: web.Request) -> JsonObject:
        number = len(self._store.matching(_target(request)))
        return {"total": number, "successful": number, "skipped": 0, "failed": 0}

    async def _get_templates(self, request: web.Request) -> web.Response:
        named = listed(self._store.templates.index, request.match_info.get("name", "*"), "index_template")
        return answer(request, {"index_templates": [{"name": key, "index_template": value} for key, value in named]})

    async def _put_template(self, request: web.Request) -> web.Response:
        self._store.templates.put_index(request.match_info["name"], await _object(request))
        return answer(request, _ACKNOWLEDGED)

    async def _delete_template(self, request: web.Request) -> web.Response:
        used = {stream.name: stream.template for stream in self._store.data_streams.values()}
        self._store.templates.delete_index(request.match_info["name"], used)
        return answer(request, _ACKNOWLEDGED)

    async def _get_components(self, request: web.Request) -> web.Response:
        named = listed(self._store.templates.components, request.match_info.get("name", "*"), "component template")
        found = [{"name": key, "component_template": value} for key, value in named]
        return answer(request, {"component_templates": found})

    async def _put_component(self, request: web.Request) -> web.Response:
        self._store.templates.put_component(request.match_info["name"], await _object(request))
        return answer(request, _ACKNOWLEDGED)

    async def _delete_component(self, request: web.Request) -> web.Response:
        self._store.templates.delete_component(request.match_info["name"])
        return answer(request, _ACKNOWLEDGED)

    async def _get_streams(self, request: web.Request) -> web.Response:
        streams = self._store.streams(request.match_info.get("name", "*"))
        return answer(request, {"data_streams": [stream.describe() for stream in streams]})

    async def _put_stream(self, request: web.Request) -> web.Response:
        self._store.create_data_stream(request.match_info["name"])
        return answer(request, _ACKNOWLEDGED)

    async def _delete_stream(self, request: web.Request) -> web.Response:
        self._store.delete_data_stream(request.match_info["name"])
        return answer(request, _ACKNOWLEDGED)

    async def _get_lifecycle(self, request: web.Request) -> web.Response:
        found = [
            {"name": stream.name} | ({"lifecycle": stream.lifecycle} if stream.lifecycle is not None else {})
            for stream in self._store.streams(request.match_info["name"])
        ]
        return answer(request, {"data_streams": found, "global_retention": {}})

    async def _put_lifecycle(self, request: web.Request) -> web.Response:
        lifecycle = stored_lifecycle(await _object(request))
        for stream in self._store.streams(request.match_info["name"]):
            stream.lifecycle = lifecycle
        return answer(request, _ACKNOWLEDGED)

    async def _get_options(self, request: web.Request) -> web.Response:
        streams = self._store.streams(request.match_info["name"])
        return answer(request, {"data_streams": [{"name": each.name, "options": each.options} for each in streams]})

    async def _put_options(self, request: web.Request) -> web.Response:
        options = await _object(request)
        for stream in self._store.streams(request.match_info["name"]):
            stream.options = options
        return answer(request, _ACKNOWLEDGED)

    async def _delete_lifecycle(self, request: web.Request) -> web.Response:
        for stream in self._store.streams(request.match_info["name"]):
            stream.lifecycle = None
        return answer(request, _ACKNOWLEDGED)

    async def _get_mapping(self, request: web.Request) -> web.Response:
        indices = self._store.matching(_target(request))
        return answer(request, {index.name: {"mappings": index.mapping.properties()} for index in indices})

    async def _put_cluster_settings(self, request: web.Request) -> web.Response:
        body = await _object(request)
        self._store.cluster.set(body)
        return answer(request, {"acknowledged": True, "persistent": {}, "transient": {}})

    async def _change_aliases(self, request: web.Request) -> web.Response:
        for action in (await _object(request)).get("actions", []):
            ((kind, about),) = action.items()
            for index in self._store.matching(about["index"]):
                if kind == "add":
                    said = about.get("is_write_index")
                    self._store.aliases.add(about["alias"], index.name, is_write_index=said)
                else:
                    self._store.aliases.remove(about["alias"], index.name)
        return answer(request, _ACKNOWLEDGED | {"errors": False})

    async def _put_settings(self, request: web.Request) -> web.Response:
        settings = await _object(request)
        for index in self._store.matching(_target(request)):
            index.obstacles.set(settings)
        return answer(request, _ACKNOWLEDGED)

    async def _close(self, request: web.Request) -> web.Response:
        return self._closed(request, closed=True)

    async def _open(self, request: web.Request) -> web.Response:
        return self._closed(request, closed=False)

    def _closed(self, request: web.Request, *, closed: bool) -> web.Response:
        for index in self._store.matching(_target(request)):
            index.obstacles.closed = closed
        return answer(request, {"acknowledged": True, "shards_acknowledged": True})

    async def _get_document(self, request: web.Request) -> web.Response:
        index = self._store.existing(_target(request))
        document_id = request.match_info["id"]
        document = index.documents.get(document_id)
        about: JsonObject = {"_index": index.name, "_id": document_id, "found": document is not None}
        if document is None:
            return answer(request, about, 404)
        about["_version"] = index.documents.version(document_id)
        about |= {"_seq_no": document.sequence, "_primary_term": 1, "_source": msgspec.Raw(document.source)}
        return answer(request, about)

    async def _get_index(self, request: web.Request) -> web.Response:
        found = {
            index.name: {"aliases": {}, "mappings": index.mapping.properties(), "settings": {"index": index.settings}}
            for index in self._store.matching(_target(request))
        }
        return answer(request, found)

    async def _put_index(self, request: web.Request) -> web.Response:
        name = _target(request)
        self._store.create_index(name, await _object(request))
        return answer(request, {"acknowledged": True, "shards_acknowledged": True, "index": name})

    async def _delete_index(self, request: web.Request) -> web.Response:
        self._store.delete_index(_target(request))
        return answer(request, _ACKNOWLEDGED)


def answer(request: web.Request, value: Any, status: int = 200) -> web.Response:
    """A JSON reply, filtered by the request's `filter_path`."""
    if wanted := request.query.get("filter_path"):
        value = filter_path.apply(msgspec.json.decode(_encode(value)), *filter_path.parse(wanted))
    return web.Response(body=_encode(value), status=status, content_type="application/json")


def _target(request: web.Request) -> str:
    return request.match_info.get("target", "_all")


async def _object(request: web.Request) -> JsonObject:
    body = await request.read()
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=JsonObject)
    except msgspec.DecodeError as error:
        raise bad_request(f"cannot read the request body: {error}", "x_content_parse_exception") from None


async def _question(request: web.Request) -> JsonObject:
    """The search body, with the parameters `q`, `size`, `from`, `sort` and `track_total_hits` of the address put in."""
    body = await _object(request)
    for name in ("size", "from"):
        if name in request.query:
            body[name] = int(request.query[name])
    if "q" in request.query:
        body["query"] = {"query_string": {"query": request.query["q"]}}
    if "sort" in request.query:
        body["sort"] = request.query["sort"].split(",")
    if "track_total_hits" in request.query:
        body["track_total_hits"] = msgspec.json.decode(request.query["track_total_hits"])
    return body
