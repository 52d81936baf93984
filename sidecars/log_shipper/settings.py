"""The settings of the log shipper, each declared once: type, unit, default and why."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta

from sidecars.kit.watch.backend import WatchBackend, WatchBackendSetting
from sidecars.runtime import Problem, Secret, Settings

from .core.address import fault, url_of_host
from .core.choices import Compression, IdMode, Lifecycle, Output, Parse

_INDEX_NAME = re.compile(r"[^A-Z\\/*?\"<>| ,#:]{1,255}")
_OWN_NAMES = re.compile(r"(@timestamp|message)(\..*)?|log|log\.(file|offset|flags)(\..*)?")
"""Fields that every document has from its line; a static field of that name would be a second value."""


class LogShipperSettings(Settings, frozen=True, kw_only=True):
    """Settings of the log shipper."""

    admin_port: int = 9101
    paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Globs of the files to ship; `**` crosses folders. Required.", examples=["/var/log/app/*.log"]
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(description="Globs of files to leave out, by path or by name. Archives (.gz ...) are always left out."),
    ] = ()
    watch_backend: WatchBackendSetting = WatchBackend.AUTO
    output: Annotated[
        Output | None,
        Meta(description="Where documents go. Unset: `elasticsearch` when an address is known, else `stdout`."),
    ] = None
    output_path: Annotated[str, Meta(description="File that `output: file` appends documents to, as NDJSON.")] = ""
    elasticsearch_url: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses of the nodes. Unset: ELASTICSEARCH_URL or ELASTICSEARCH_HOST (and _PORT).",
            examples=["https://elasticsearch:9200"],
        ),
    ] = ()
    index: Annotated[str, Meta(description="Ship into this plain index (or alias) instead of a data stream.")] = ""
    data_stream: Annotated[str, Meta(description="Ship into this data stream.")] = "logs-sidecar-default"
    id_mode: Annotated[
        IdMode,
        Meta(
            description="`derived`: ids of file identity, offset and line hash, so that nothing is doubled. "
            "`auto`: Elasticsearch makes them; cheaper to index, but a repeated request doubles."
        ),
    ] = IdMode.DERIVED
    parse: Annotated[
        Parse,
        Meta(description="`none`: a line is the message. `json`: fields of JSON objects. `cri`: container runtime."),
    ] = Parse.NONE
    state_dir: Annotated[
        str,
        Meta(description="Writable folder of the checkpoint; must survive a restart of the container (an emptyDir)."),
    ] = "/var/lib/sidecars/log-shipper"
    batch_bytes: Annotated[
        int,
        Meta(
            ge=4096, le=64 << 20, description="A request is sent when its body, before compression, reaches this size."
        ),
    ] = 1 << 20
    batch_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="A request is sent at the latest so long after its first line was read; after a pause of that "
            "length nearly at once.",
        ),
    ] = 0.5
    in_flight_bytes: Annotated[
        int,
        Meta(
            ge=64 << 10,
            le=1 << 30,
            description="Bytes of log read and not acknowledged; at this many, reading pauses, files stay open.",
        ),
    ] = 4 << 20
    requests: Annotated[int, Meta(ge=1, le=32, description="Bulk requests under way at once.")] = 4
    request_timeout_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=600,
            description="A request without an answer for so long has failed (of several nodes: 10 s). With "
            "derived ids it is sent once more beside that after about a second while stopping, and where there are "
            "more nodes.",
        ),
    ] = 30.0
    max_line_bytes: Annotated[
        int, Meta(ge=64, le=64 << 20, description="Longer lines are cut, marked `log.flags: [truncated]` and counted.")
    ] = 1 << 20
    compression: Annotated[Compression, Meta(description="Of request bodies.")] = Compression.GZIP
    fields: Annotated[
        dict[str, str],
        Meta(description="Static fields of every document; dots nest.", examples=["service.name=checkout"]),
    ] = {}
    dead_letter_path: Annotated[
        str,
        Meta(description="File for records refused for good, and why. Unset: `dead-letter.ndjson` in `state_dir`."),
    ] = ""
    dead_letter_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            description="At this size the dead-letter file becomes `.1`, replacing the older one.",
        ),
    ] = 32 << 20
    lifecycle: Annotated[
        Lifecycle,
        Meta(
            description="`native`: SIGTERM comes after the app has ended (init container with restartPolicy Always). "
            "`ordinary`: it comes together with the app's, so keep tailing until the files are quiet."
        ),
    ] = Lifecycle.NATIVE
    quiet_seconds: Annotated[
        float, Meta(ge=0, description="With `lifecycle: ordinary`, SIGTERM is obeyed once no file grew for so long.")
    ] = 3.0
    username: Annotated[
        str, Meta(description="For basic authentication. When unset, ELASTICSEARCH_USERNAME is taken.")
    ] = ""
    password: Annotated[
        Secret | None,
        Meta(
            description="For basic authentication. When unset, ELASTICSEARCH_PASSWORD is taken. Prefer `password_file`."
        ),
    ] = None
    password_file: Annotated[str, Meta(description="File with the password; read again when it changes.")] = ""
    api_key: Annotated[
        Secret | None,
        Meta(description="API key, encoded form. When unset, ELASTICSEARCH_API_KEY is taken. Prefer `api_key_file`."),
    ] = None
    api_key_file: Annotated[str, Meta(description="File with the API key; read again when it changes.")] = ""
    ca_file: Annotated[
        str,
        Meta(description="CA certificates (PEM) for https; read again when they change. Unset: those of the system."),
    ] = ""
    client_certificate_file: Annotated[
        str, Meta(description="Client certificate chain (PEM) for mutual TLS; read again when it changes.")
    ] = ""
    client_key_file: Annotated[
        str, Meta(description="Key of the client certificate (PEM). Unset: it is in `client_certificate_file`.")
    ] = ""
    retention: Annotated[
        str,
        Meta(
            pattern=r"^(\d+(d|h|m|s))?$",
            description="With --setup: how long the data stream keeps documents (`30d`). Empty: for ever.",
        ),
    ] = "30d"
    pod_name: Annotated[str, Meta(description="`kubernetes.pod.name`; from POD_NAME (downward API) when unset.")] = ""
    pod_namespace: Annotated[str, Meta(description="`kubernetes.namespace`; from POD_NAMESPACE when unset.")] = ""
    pod_uid: Annotated[
        str,
        Meta(description="`kubernetes.pod.uid`, and what tells pods apart in document ids; from POD_UID when unset."),
    ] = ""
    node_name: Annotated[str, Meta(description="`kubernetes.node.name`; from NODE_NAME when unset.")] = ""
    container_name: Annotated[str, Meta(description="`kubernetes.container.name`; from CONTAINER_NAME when unset.")] = (
        ""
    )

    @classmethod
    def fallbacks(cls, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Return the downward-API variables, and the names that manifests for other shippers already use."""
        names = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "NODE_NAME", "CONTAINER_NAME")
        found = {name.lower(): (environ[name], name) for name in names if environ.get(name)}
        if url := environ.get("ELASTICSEARCH_URL"):
            found["elasticsearch_url"] = (url, "ELASTICSEARCH_URL")
        elif url := url_of_host(environ.get("ELASTICSEARCH_HOST", ""), environ.get("ELASTICSEARCH_PORT", "")):
            found["elasticsearch_url"] = (url, "ELASTICSEARCH_HOST")
        for field, variable in (
            ("username", "ELASTICSEARCH_USERNAME"),
            ("password", "ELASTICSEARCH_PASSWORD"),
            ("api_key", "ELASTICSEARCH_API_KEY"),
        ):
            if environ.get(variable):
                found[field] = (environ[variable], variable)
        return found

    def problems(self) -> Iterable[Problem]:
        """Yield what single fields cannot say."""
        if not self.paths:
            yield Problem("paths", "no files are named", "set it to one or more globs, such as /var/log/app/*.log")
        for pattern in (*self.paths,):
            if not pattern.startswith("/"):
                yield Problem("paths", f"{pattern!r} is not an absolute path", "begin it with /")
        if self.destination is Output.ELASTICSEARCH:
            yield from self._elasticsearch_problems()
        if self.destination is Output.FILE and not self.output_path:
            yield Problem(
                "output_path", "output is `file` and no file is named", "set it to the path of the file to append to"
            )
        if self.output_path and self.destination is not Output.FILE:
            yield Problem("output_path", f"output is `{self.destination}`", "set output to file, or leave this out")
        for name in self.fields:
            if _OWN_NAMES.fullmatch(name) or not all(name.split(".")):
                yield Problem(
                    "fields", f"{name!r} cannot be a static field", "choose another name, such as labels.team"
                )
        if self.batch_bytes > self.in_flight_bytes * 16:
            yield Problem(
                "batch_bytes", "it is far more than in_flight_bytes lets be read", "raise in_flight_bytes or lower it"
            )

    @property
    def destination(self) -> Output:
        """Return the output that is in force."""
        if self.output is not None:
            return self.output
        return Output.ELASTICSEARCH if self.elasticsearch_url else Output.STDOUT

    @property
    def dead_letter_file(self) -> str:
        """Return the dead-letter file."""
        return self.dead_letter_path or f"{self.state_dir}/dead-letter.ndjson"

    @property
    def own_files(self) -> tuple[str, ...]:
        """Return the files that the shipper writes itself, and so must not read."""
        output = (self.output_path,) if self.destination is Output.FILE else ()
        return (*output, self.dead_letter_file, f"{self.dead_letter_file}.1", f"{self.state_dir}/checkpoint.json")

    @property
    def target(self) -> str:
        """Index or data stream that documents go into."""
        return self.index or self.data_stream

    def _elasticsearch_problems(self) -> Iterable[Problem]:
        if not self.elasticsearch_url:
            yield Problem(
                "elasticsearch_url",
                "output is `elasticsearch` and no address is known",
                "set it, such as http://elasticsearch:9200",
            )
        for url in self.elasticsearch_url:
            if wrong := fault(url):
                yield Problem("elasticsearch_url", wrong, "write it as http://host:9200 or https://host:9200")
        field = "index" if self.index else "data_stream"
        if not _INDEX_NAME.fullmatch(self.target) or self.target[0] in "-_+" or self.target in (".", ".."):
            yield Problem(
                field,
                f"{self.target!r} is no valid name in Elasticsearch",
                "use lower-case letters, digits, and - or . within",
            )
        if self.api_key_file and self.password_file:
            yield Problem("api_key_file", "both an API key and a password are given", "give one of them")
        if (self.password or self.password_file) and not (self.username or self.api_key or self.api_key_file):
            yield Problem(
                "username", "a password is given and no user name", "set the user name that the password belongs to"
            )
        if self.api_key and not self.api_key.reveal().strip().isprintable():
            yield Problem("api_key", "it holds something else than one line of text", "paste the encoded key alone")
        if self.client_key_file and not self.client_certificate_file:
            yield Problem(
                "client_certificate_file", "a client key is given and no certificate", "set the file of the certificate"
            )
