"""The settings of the ambassador, each declared once: type, unit, default and why.

A listener of `listeners` takes over from the top level what it does not say itself, so that two listeners share their
upstreams, TLS and checks.
"""

import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from sidecars.kit.tls_identity import NotARule, parse_rule
from sidecars.runtime import Problem, Settings

from .core.address import BadAddress, HostAddress, ServiceName, SocketPath, check_address, listen_address
from .core.address import upstream_address as parse_upstream
from .core.selection import TargetRole


class Protocol(StrEnum):
    """What the app speaks."""

    TCP = "tcp"
    POSTGRES = "postgres"
    REDIS = "redis"
    MYSQL = "mysql"


class ContainerLifecycle(StrEnum):
    """How the container stands in the pod."""

    NATIVE = "native"
    ORDINARY = "ordinary"


class CheckKind(StrEnum):
    """How an upstream is asked whether it works, and for its role."""

    AUTO = "auto"
    TCP = "tcp"
    TLS = "tls"
    POSTGRES = "postgres"
    SQL = "sql"
    PATRONI = "patroni"
    HTTP = "http"
    REDIS = "redis"


TELLS_ROLES = {CheckKind.SQL, CheckKind.PATRONI, CheckKind.REDIS}


class PostgresTls(StrEnum):
    """How TLS begins with PostgreSQL."""

    CLASSIC = "classic"
    DIRECT = "direct"


class SendProxy(StrEnum):
    """Which PROXY header an upstream gets."""

    NONE = "none"
    V1 = "v1"
    V2 = "v2"


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that connections go to."""

    address: Annotated[
        str,
        Meta(
            description="`HOST:PORT`, `srv://NAME` for SRV records, or `unix:PATH`. A name with several addresses of "
            "one family is several nodes, each with its own health and role.",
            examples=["db-1:5432", "srv://_postgres._tcp.db.svc"],
        ),
    ] = ""
    priority: Annotated[int, Meta(ge=0, le=1000, description="The lowest number that is usable is used.")] = 0
    weight: Annotated[int, Meta(ge=1, le=1000, description="Share of the sessions among equal priorities.")] = 1
    check_address: Annotated[
        str,
        Meta(
            description="Where it is checked (patroni, http): `HOST:PORT`, or `:PORT` for each node of `address`. "
            "Unset: port 8008 (patroni), else `address`.",
            examples=["db-1:8008", ":8008"],
        ),
    ] = ""


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS to the upstreams. Files are read again when they change; a broken set keeps the old one."""

    enabled: Annotated[bool, Meta(description="`false`: none, where the top level has one.")] = True
    ca_file: Annotated[str, Meta(description="CA certificates (PEM). Unset: those of the system.")] = ""
    certificate_file: Annotated[
        str, Meta(description="Client certificate chain (PEM), with the key in the same file or in `key_file`.")
    ] = ""
    key_file: Annotated[str, Meta(description="Its key (PEM). Unset: it is in `certificate_file`.")] = ""
    server_name: Annotated[str, Meta(description="Name that is asked for (SNI) and expected. Unset: the host.")] = ""
    sans: Annotated[
        tuple[str, ...],
        Meta(
            description="Who the server may be, any one of them: `dns:NAME` (`dns:*.DOMAIN` for one label), `uri:URI`, "
            "`uri-prefix:URI/`, `spki-sha256:BASE64` (a pin of its public key). Unset: the name or address that was "
            "asked for. The common name never counts.",
            examples=["uri:spiffe://example/db"],
        ),
    ] = ()
    minimum_version: Annotated[str, Meta(description="`1.2` or `1.3`.", pattern=r"^1\.[23]$")] = "1.2"
    postgres: Annotated[
        PostgresTls,
        Meta(description="`direct`: without SSLRequest, by ALPN (PostgreSQL 17 and newer); one round trip less."),
    ] = PostgresTls.CLASSIC


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How upstreams are checked: over the same TLS and with the same identity as the data."""

    kind: Annotated[
        CheckKind,
        Meta(
            description="`tcp`, `tls`, `postgres` (SSLRequest), `sql` (SHOW transaction_read_only), `patroni` (REST), "
            "`http`, `redis` (ROLE). `auto`: what fits the protocol."
        ),
    ] = CheckKind.AUTO
    interval_seconds: Annotated[float, Meta(ge=0.1, le=3600, description="Time between two checks.")] = 1.0
    timeout_seconds: Annotated[float, Meta(gt=0, le=60, description="Longest time for one check.")] = 2.0
    rise: Annotated[int, Meta(ge=1, le=100, description="So many successes in a row make a node usable again.")] = 1
    fall: Annotated[
        int, Meta(ge=1, le=100, description="So many failures in a row make it unusable; failed connects eject it.")
    ] = 2
    slow_start_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="A node that has come back gets its share only after so long.")
    ] = 0.0
    user: Annotated[str, Meta(description="User (sql, redis).")] = ""
    user_file: Annotated[str, Meta(description="File with the user; read at each login.")] = ""
    password_file: Annotated[str, Meta(description="File with the password; read at each login.")] = ""
    database: Annotated[str, Meta(description="Database (sql).")] = "postgres"
    path: Annotated[str, Meta(description="Path that answers 200 (http).", pattern="^/")] = "/"
    https: Annotated[bool, Meta(description="Check by HTTPS, with the files of `tls` (patroni, http).")] = False
    lag: Annotated[
        str,
        Meta(
            description="A replica that lags more is not usable, in Patroni's words (patroni).",
            examples=["10MB"],
            pattern="^[0-9]*[kMGT]?B?$",
        ),
    ] = ""


class Connect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long connecting to upstreams may take."""

    try_seconds: Annotated[float, Meta(gt=0, le=60, description="Longest time for one upstream, TLS included.")] = 2.0
    total_seconds: Annotated[
        float, Meta(gt=0, le=600, description="Longest time for all tries; what is parked does not count.")
    ] = 10.0


class Park(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local connections wait while no upstream is usable, or too many are served."""

    seconds: Annotated[float, Meta(ge=0, le=3600, description="Longest wait; 0: none.")] = 10.0
    connections: Annotated[int, Meta(ge=0, description="So many may wait; more are refused at once.")] = 200


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds for the connections of a listener."""

    connections: Annotated[int, Meta(ge=0, description="So many are served; more are parked. 0: any number.")] = 500
    idle_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="One that says nothing for so long is ended; with postgres a query that runs is not idle. 0: "
            "never.",
        ),
    ] = 0
    age_seconds: Annotated[
        float, Meta(ge=0, description="One that is older is ended as soon as it is idle, spread a little. 0: never.")
    ] = 0


class ProxyProtocol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PROXY headers: who the client is, said to the upstream, or by a proxy before us."""

    send: Annotated[SendProxy, Meta(description="What the upstream gets.")] = SendProxy.NONE
    accept_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks whose connections begin with a PROXY header. Others must not send one.",
            examples=["10.0.0.0/8"],
        ),
    ] = ()


_LISTEN = Meta(
    description="Where the app connects to: `HOST:PORT` (port 0: any free one), `unix:PATH`. With postgres, the path "
    "of a folder gets the socket that libpq looks for (`.s.PGSQL.5432`).",
    examples=["127.0.0.1:5432"],
)
_PROTOCOL = Meta(
    description="`tcp` is any. `mysql` is TLS passthrough only: the app does TLS itself, the ambassador cannot."
)
_ROLE = Meta(description="Which upstreams are used. Other than `any` needs a check that tells: sql, patroni, redis.")
_UPSTREAMS = Meta(description="Where connections go to.")
_TLS = Meta(description="TLS to the upstreams; `true` or a bare --tls is TLS with the CAs of the system.")
_CHECK = Meta(description="How upstreams are checked.")
_CONNECT = Meta(description="Time-outs of connecting.")
_PARK = Meta(description="Waiting in place of being refused.")
_LIMITS = Meta(description="Bounds for connections.")
_ResolveSeconds = Annotated[
    float,
    Meta(gt=0, le=86400, description="Names are looked up again so often; a failure keeps the last answer."),
]
_DnsDrainSeconds = Annotated[
    float,
    Meta(
        ge=0,
        le=86400,
        description="When an address leaves the DNS, its sessions are ended as they become idle, spread over so long. "
        "0: they stay.",
    ),
]
_PROXY = Meta(description="PROXY headers, out and in.")


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that the app connects to. What is not said here is as at the top level."""

    name: Annotated[str, Meta(description="Its name in /status, metrics and log. Unset: its first address.")] = ""
    listen: Annotated[tuple[str, ...] | None, _LISTEN] = None
    protocol: Annotated[Protocol | None, _PROTOCOL] = None
    role: Annotated[TargetRole | None, _ROLE] = None
    upstreams: Annotated[tuple[Upstream, ...] | None, _UPSTREAMS] = None
    tls: Annotated[Tls | None, _TLS] = None
    check: Annotated[Check | None, _CHECK] = None
    connect: Annotated[Connect | None, _CONNECT] = None
    park: Annotated[Park | None, _PARK] = None
    limits: Annotated[ConnectionLimits | None, _LIMITS] = None
    resolve_seconds: _ResolveSeconds | None = None
    dns_drain_seconds: _DnsDrainSeconds | None = None
    proxy_protocol: Annotated[ProxyProtocol | None, _PROXY] = None


class ListenerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A listener with everything said: its own, and what it takes over."""

    name: str
    listen: tuple[HostAddress | SocketPath, ...]
    protocol: Protocol
    role: TargetRole
    upstreams: tuple[Upstream, ...]
    tls: Tls | None
    check: Check
    connect: Connect
    park: Park
    limits: ConnectionLimits
    resolve_seconds: float
    dns_drain_seconds: float
    proxy_protocol: ProxyProtocol

    @property
    def check_kind(self) -> CheckKind:
        """Return the kind of check, `auto` resolved."""
        if self.check.kind is not CheckKind.AUTO:
            return self.check.kind
        fitting = {Protocol.POSTGRES: CheckKind.POSTGRES, Protocol.REDIS: CheckKind.REDIS}
        return fitting.get(self.protocol, CheckKind.TLS if self.tls else CheckKind.TCP)


class AmbassadorSettings(Settings, frozen=True, kw_only=True):
    """Settings of the ambassador."""

    admin_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="Port of the admin endpoint (probes, metrics, status). 0 takes any free one."),
    ] = 9104
    grace_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="Longest time from SIGTERM to the exit; the last connections are ended 2 s before. Keep it 2 s "
            "below terminationGracePeriodSeconds.",
        ),
    ] = 28.0
    listen: Annotated[tuple[str, ...], _LISTEN] = ()
    protocol: Annotated[Protocol, _PROTOCOL] = Protocol.TCP
    role: Annotated[TargetRole, _ROLE] = TargetRole.ANY
    upstreams: Annotated[tuple[Upstream, ...], _UPSTREAMS] = ()
    upstream: Annotated[
        tuple[str, ...],
        Meta(
            description="The simple form of `upstreams`: addresses, the first one preferred, the next when it fails.",
            examples=["db-1:5432"],
        ),
    ] = ()
    tls: Annotated[Tls | None, _TLS] = None
    ca_file: Annotated[str, Meta(description="The same as tls.ca_file.")] = ""
    certificate_file: Annotated[str, Meta(description="The same as tls.certificate_file.")] = ""
    key_file: Annotated[str, Meta(description="The same as tls.key_file.")] = ""
    server_name: Annotated[str, Meta(description="The same as tls.server_name.")] = ""
    check: Annotated[Check | None, _CHECK] = None
    connect: Annotated[Connect | None, _CONNECT] = None
    park: Annotated[Park | None, _PARK] = None
    limits: Annotated[ConnectionLimits | None, _LIMITS] = None
    resolve_seconds: _ResolveSeconds = 30.0
    dns_drain_seconds: _DnsDrainSeconds = 0.0
    proxy_protocol: Annotated[ProxyProtocol | None, _PROXY] = None
    listeners: Annotated[
        tuple[ListenerSettings, ...],
        Meta(description="Several listeners; what one does not say is as at the top level."),
    ] = ()
    lifecycle: Annotated[
        ContainerLifecycle,
        Meta(
            description="`native`: the app is gone when we are stopped, so the end is when the last client is. "
            "`ordinary`: both are stopped at once, so the end is when there was no client for quiet_seconds."
        ),
    ] = ContainerLifecycle.NATIVE
    quiet_seconds: Annotated[
        float, Meta(ge=0, le=600, description="Without a local client for so long, an ordinary sidecar ends.")
    ] = 3.0
    drain_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="POST /drain and /failover end sessions that are idle over so long.")
    ] = 5.0
    failover_seconds: Annotated[
        float, Meta(gt=0, le=86400, description="POST /failover keeps away from the upstream for so long.")
    ] = 60.0

    @property
    def shared_tls(self) -> Tls | None:
        """Return the TLS of the top level; its simple form means TLS, too."""
        simple = {
            name: value
            for name in ("ca_file", "certificate_file", "key_file", "server_name")
            if (value := getattr(self, name))
        }
        if self.tls is None:
            return Tls(**simple) if simple else None
        return msgspec.structs.replace(self.tls, **simple)

    @property
    def shared_upstreams(self) -> tuple[Upstream, ...]:
        """Return the upstreams of the top level."""
        simple = tuple(Upstream(address=text, priority=number) for number, text in enumerate(self.upstream))
        return (*self.upstreams, *simple)

    def plans(self) -> tuple[ListenerPlan, ...]:
        """Return the listeners with everything said. Raise BadAddress where `problems` says something."""
        return tuple(self._plan(listener) for listener in self.listeners or (ListenerSettings(),))

    def _plan(self, listener: ListenerSettings) -> ListenerPlan:
        tls = listener.tls if listener.tls is not None else self.shared_tls
        protocol = listener.protocol or self.protocol
        listen = listening(listener.listen if listener.listen is not None else self.listen, protocol)
        return ListenerPlan(
            name=listener.name or (str(listen[0]) if listen else ""),
            listen=listen,
            protocol=protocol,
            role=listener.role or self.role,
            upstreams=listener.upstreams if listener.upstreams is not None else self.shared_upstreams,
            tls=tls if tls is not None and tls.enabled else None,
            check=listener.check or self.check or Check(),
            connect=listener.connect or self.connect or Connect(),
            park=listener.park or self.park or Park(),
            limits=listener.limits or self.limits or ConnectionLimits(),
            resolve_seconds=listener.resolve_seconds or self.resolve_seconds,
            dns_drain_seconds=(
                self.dns_drain_seconds if listener.dns_drain_seconds is None else listener.dns_drain_seconds
            ),
            proxy_protocol=listener.proxy_protocol or self.proxy_protocol or ProxyProtocol(),
        )

    def problems(self) -> Iterable[Problem]:
        """What single fields cannot say."""
        seen: set[str] = set()
        names: set[str] = set()
        for number, listener in enumerate(self.listeners or (ListenerSettings(),)):
            place = f"listeners[{number}]." if self.listeners else ""
            own = {name for name in ListenerSettings.__struct_fields__ if getattr(listener, name) is not None}
            try:
                plan = self._plan(listener)
            except BadAddress as error:
                yield Problem(_where(place, "listen", own), str(error), error.remedy)
                continue
            for problem in plan_problems(plan):
                name, _, rest = problem.field.partition(".")
                field = _where(place, name, own) + (f".{rest}" if rest else "")
                yield Problem(self._simply(field), problem.message, problem.remedy)
            yield from _clashes(plan, _where(place, "listen", own), seen, names)

    def _simply(self, field: str) -> str:
        """Return the name of a setting as it was given: an upstream may have been named in the simple form."""
        number = re.match(r"upstreams\[(\d+)\]", field)
        return "upstream" if number and int(number[1]) >= len(self.upstreams) else field


def _where(place: str, name: str, own: set[str]) -> str:
    """Return where a setting of a listener was said: in it, or at the top level."""
    bare = name.partition("[")[0]
    return f"{place}{name}" if bare in own and place else name


def _clashes(plan: ListenerPlan, where: str, seen: set[str], names: set[str]) -> Iterable[Problem]:
    for address in plan.listen:
        is_free = isinstance(address, HostAddress) and address.port == 0
        if str(address) in seen and not is_free:
            yield Problem(where, f"another listener has {address}", "give each an address of its own")
        seen.add(str(address))
    if plan.name in names:
        yield Problem(where, f"another listener is called {plan.name}", "give each a name of its own")
    names.add(plan.name)


def listening(texts: Iterable[str], protocol: Protocol) -> tuple[HostAddress | SocketPath, ...]:
    """Return where to listen; a folder gets the socket that libpq looks for, by the port beside it. Raise
    BadAddress.
    """
    texts = tuple(texts)
    read = [listen_address(text) for text in texts if not text.strip().startswith("unix:")]
    port = next((address.port for address in read if isinstance(address, HostAddress)), 0)
    socket_name = f".s.PGSQL.{port or 5432}" if protocol is Protocol.POSTGRES else ""
    return tuple(listen_address(text, socket_name) for text in texts)


def plan_problems(plan: ListenerPlan) -> Iterable[Problem]:
    """Return what is wrong with a listener, by the names of its settings."""
    if not plan.listen:
        yield Problem("listen", "it is not set", "say where the app connects to, such as 127.0.0.1:5432")
    if not plan.upstreams:
        yield Problem("upstreams", "there is nowhere to connect to", "name one, such as --upstream db-1:5432")
    for number, upstream in enumerate(plan.upstreams):
        yield from _upstream_problems(f"upstreams[{number}]", upstream)
        if upstream.address in {other.address for other in plan.upstreams[:number]}:
            yield Problem(f"upstreams[{number}].address", f"{upstream.address} is there twice", "take one out")
    kind = plan.check_kind
    if plan.role is not TargetRole.ANY and kind not in TELLS_ROLES:
        text = f"nothing tells the role of an upstream: the check is {kind}"
        yield Problem("role", text, "set check.kind to sql, patroni or redis, or role to any")
    if kind is CheckKind.SQL and not (plan.check.user or plan.check.user_file):
        yield Problem("check.user", "it is not set, and the check sql logs in", "name the user, or user_file")
    if kind is CheckKind.TLS and plan.tls is None:
        yield Problem("check.kind", "it is tls, and there is no TLS", "set tls, or check.kind to tcp")
    if kind in {CheckKind.SQL, CheckKind.POSTGRES} and plan.protocol is not Protocol.POSTGRES:
        yield Problem("check.kind", f"it is {kind}, and the protocol is {plan.protocol}", "set protocol to postgres")
    if plan.tls is not None:
        yield from _tls_problems(plan.tls, plan.protocol)
    for number, network in enumerate(plan.proxy_protocol.accept_from):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            where = f"proxy_protocol.accept_from[{number}]"
            yield Problem(where, f"{network[:60]!r} is no network", "write it as 10.0.0.0/8")


def _upstream_problems(where: str, upstream: Upstream) -> Iterable[Problem]:
    try:
        address = parse_upstream(upstream.address)
    except BadAddress as error:
        yield Problem(f"{where}.address", str(error), error.remedy)
        return
    if upstream.check_address:
        try:
            there = check_address(upstream.check_address)
        except BadAddress as error:
            yield Problem(f"{where}.check_address", str(error), error.remedy)
        else:
            if isinstance(address, ServiceName) and there.host:
                yield Problem(f"{where}.check_address", "it is one place for several nodes", "write it as :PORT")


def _tls_problems(tls: Tls, protocol: Protocol) -> Iterable[Problem]:
    if protocol is Protocol.MYSQL:
        text = "with mysql the ambassador cannot do TLS: it begins inside of the protocol"
        yield Problem("tls", text, "let the app do TLS through it, and leave tls out")
    if tls.key_file and not tls.certificate_file:
        yield Problem("tls.certificate_file", "a key is given and no certificate", "name the file of the certificate")
    for number, text in enumerate(tls.sans):
        try:
            parse_rule(text)
        except NotARule as error:
            yield Problem(f"tls.sans[{number}]", f"{text[:80]!r}: {error}", "mend it, or take it out")
