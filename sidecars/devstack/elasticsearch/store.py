"""Indices, data streams and templates: which index a write goes to, and what a name or pattern stands for.

The rules are those of Elasticsearch 9 that a shipper can run into: indices made by the first write, composable
templates, data streams that take `create` only and want an `@timestamp`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from .documents import Document, Documents
from .errors import JsonObject, RestError, bad_request, no_such_index
from .mapping import FieldMapping
from .obstacles import Aliases, Cluster, Obstacles
from .templates import Templates, merge, stored_settings

_FORBIDDEN = frozenset('\\/*?"<>| ,#')


class Index:
    """One index: its mapping and its documents; `data_stream` names the stream it belongs to."""

    def __init__(self, name: str, declared: JsonObject, data_stream: str | None = None) -> None:
        self.name = name
        self.settings: JsonObject = declared.get("settings", {})
        self.mapping = FieldMapping(declared.get("mappings", {}), stored_settings(self.settings))
        self.obstacles = Obstacles(self.settings)
        self.documents = Documents(name)
        self.data_stream = data_stream


class DataStream:
    """A data stream of one backing index (the stand-in does not roll over)."""

    def __init__(self, name: str, template: str, index: Index, composed: JsonObject) -> None:
        self.name = name
        self.template = template
        self.index = index
        self.lifecycle: JsonObject | None = composed.get("lifecycle")
        self.options: JsonObject = composed.get("data_stream_options", {})

    @property
    def has_failure_store(self) -> bool:
        """Whether it is switched on; as in the server's Maven artifacts, nothing goes into it even so."""
        return bool(self.options.get("failure_store", {}).get("enabled", False))

    def describe(self) -> JsonObject:
        """As in the reply of `GET /_data_stream`."""
        about: JsonObject = {
            "name": self.name,
            "timestamp_field": {"name": "@timestamp"},
            "indices": [{"index_name": self.index.name, "index_uuid": "devstack"}],
            "generation": 1,
            "status": "GREEN",
            "template": self.template,
            "hidden": False,
            "system": False,
            "failure_store": {"enabled": self.has_failure_store, "rollover_on_write": True, "indices": []},
        }
        return about | ({"lifecycle": self.lifecycle} if self.lifecycle is not None else {})


class Store:
    """Everything the stand-in remembers; gone when it ends."""

    def __init__(self) -> None:
        self.indices: dict[str, Index] = {}
        self.data_streams: dict[str, DataStream] = {}
        self.templates = Templates()
        self.cluster = Cluster()
        self.aliases = Aliases()

    def for_writing(self, name: str, *, create: bool, require_data_stream: bool = False) -> Index:
        """The index a document for `name` goes to, made when it is missing.

        Raises: RestError 400 for a bad name or an `index` into a data stream; 404 when a data stream is required; and
        for whatever stands in the way of that index.
        """
        if self.aliases.indices(name):
            name = self.aliases.write_index(name)
        index = self._for_writing(name, create=create, require_data_stream=require_data_stream)
        index.obstacles.check(index.name)
        return index

    def _for_writing(self, name: str, *, create: bool, require_data_stream: bool) -> Index:
        stream = self.data_streams.get(name)
        if stream is None:
            if (index := self.indices.get(name)) is not None:
                if not require_data_stream:
                    return index
                raise no_such_index(name)
            makes_stream = self.templates.makes_stream(self.templates.applying_to(name))
            if require_data_stream and not makes_stream:
                flag = (
                    "the index creation request requires a data stream, but no matching index template with data stream"
                )
                reason = f"no such index [{name}] and {flag} template was found for it"
                raise RestError(404, "index_not_found_exception", reason)
            self.cluster.check_creation(name, len(self.indices), by_write=True)
            if not makes_stream:
                return self.create_index(name, {})
        if not create:
            raise bad_request("only write ops with an op_type of create are allowed in data streams")
        return (stream or self.create_data_stream(name)).index

    def create_index(self, name: str, declared: JsonObject) -> Index:
        """Makes an index, with its template's mappings below its own."""
        _check_name(name)
        if name in self.indices or name in self.data_streams:
            raise bad_request(f"index [{name}/devstack] already exists", "resource_already_exists_exception")
        template = self.templates.applying_to(name)
        self.cluster.check_creation(name, len(self.indices), by_write=False)
        composed = merge(self.templates.composed(template) if template else {}, declared)
        index = self.indices[name] = Index(name, composed)
        for alias, about in declared.get("aliases", {}).items():
            self.aliases.add(alias, name, is_write_index=about.get("is_write_index"))
        return index

    def create_data_stream(self, name: str) -> DataStream:
        """Makes a data stream and its first backing index; its template must have `data_stream`."""
        _check_name(name)
        template = self.templates.applying_to(name)
        if template is None or not self.templates.makes_stream(template):
            raise bad_request(f"no matching index template found for data stream [{name}]")
        if name in self.data_streams:
            raise bad_request(f"data_stream [{name}] already exists", "resource_already_exists_exception")
        composed = self.templates.composed(template)
        timestamp = {"mappings": {"properties": {"@timestamp": {"type": "date"}}}}
        backing = f".ds-{name}-{datetime.now(UTC):%Y.%m.%d}-000001"
        index = self.indices[backing] = Index(backing, merge(timestamp, composed), name)
        stream = self.data_streams[name] = DataStream(name, template, index, composed)
        return stream

    def matching(self, target: str) -> list[Index]:
        """The indices that a comma-separated list of names and patterns stands for.

        Raises: RestError 404 for a plain name that does not exist.
        """
        found: dict[str, Index] = {}
        for name in target.split(","):
            if "*" not in name and name != "_all":
                for each in self.aliases.indices(name) or [name]:
                    index = self.existing(each)
                    found[index.name] = index
                continue
            pattern = "*" if name == "_all" else name
            for index in self.indices.values():
                if fnmatchcase(index.data_stream or index.name, pattern):
                    found[index.name] = index
        return list(found.values())

    def documents(self, target: str) -> Iterator[Document]:
        """Every document of these indices, in the order of writing."""
        for index in self.matching(target):
            yield from map(index.documents.at, index.documents.live())

    def existing(self, name: str) -> Index:
        """The index or the data stream's write index of this name; raises RestError 404."""
        if (stream := self.data_streams.get(name)) is not None:
            return stream.index
        if (index := self.indices.get(name)) is None:
            raise no_such_index(name)
        return index

    def streams(self, target: str) -> list[DataStream]:
        """The data streams by names and patterns; raises RestError 404 for a plain name that does not exist."""
        found: list[DataStream] = []
        for name in target.split(","):
            if "*" not in name and name not in self.data_streams:
                raise no_such_index(name)
            found += [stream for key, stream in self.data_streams.items() if fnmatchcase(key, name)]
        return found

    def delete_index(self, target: str) -> None:
        """Forgets indices; a data stream's backing index is refused, as by the real server."""
        if "*" in target or target == "_all":
            raise bad_request("Wildcard expressions or all indices are not allowed")
        for index in self.matching(target):
            if index.data_stream is None:
                del self.indices[index.name]
            else:
                where = f"data stream [{index.data_stream}]"
                raise bad_request(f"index [{index.name}] is the write index for {where} and cannot be deleted")

    def delete_data_stream(self, target: str) -> None:
        """Forgets data streams with their backing indices."""
        for stream in self.streams(target):
            del self.data_streams[stream.name]
            del self.indices[stream.index.name]


def _check_name(name: str) -> None:
    if not name or name != name.lower() or name[0] in "_-+" or not _FORBIDDEN.isdisjoint(name):
        raise bad_request(f"Invalid index name [{name}], must be lowercase", "invalid_index_name_exception")
