"""The admin endpoint: probes, metrics, status, and triggers for the containers of the same pod.

Exists so that the kubelet, Prometheus and a person with curl see every sidecar in the same way. Probes and metrics
answer on the pod's address; whatever changes something answers on loopback only, because containers of a pod share it
and nobody else can reach it.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn

# From the modules, not from aiohttp.web: that one imports the application framework as well, 1.3 MiB that nobody uses.
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server
from prometheus_client import CollectorRegistry

from sidecars import __version__
from sidecars.runtime.clock import monotonic, now, rfc3339
from sidecars.runtime.errors import Permanent, Problem, SettingsError, Transient
from sidecars.runtime.stop import Stop

from .health import Condition, Health, State
from .logs import encode_json
from .metrics import expose

IDLE_SECONDS = 15.0  # a connection that says nothing, or not a whole request head, is closed after this
LEAVE_SECONDS = 0.5  # how long the exit waits for triggers that are at work and answers that are being sent
_EVERYWHERE = {"", "*", "::"}
_IN_USE = {errno.EADDRINUSE, errno.EACCES}  # true of IPv4 as well
_NOT_OURS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
Trigger = Callable[..., Awaitable[Mapping[str, object] | None]]


class Admin:
    """What one sidecar shows and takes on the admin endpoint."""

    def __init__(self, name: str, health: Health) -> None:
        self.name = name
        self.health = health
        self.provider: Callable[[], Mapping[str, Any]] = dict
        self.tables: Callable[[], str] | None = None
        self.triggers: dict[str, Trigger] = {}
        self.takes: dict[str, tuple[str, ...]] = {}

    def table(self, tables: Callable[[], str]) -> None:
        """Show this text for people at `/status?format=table`."""
        self.tables = tables

    def status(self, provider: Callable[[], Mapping[str, Any]]) -> None:
        """Show the provider's entries in /status. It is called at each request and must be quick."""
        self.provider = provider

    def trigger(self, name: str, act: Trigger, takes: tuple[str, ...] = ()) -> None:
        """Have `POST /name` run `act` for callers on loopback; what it returns is the answer's JSON. Permanent and
        Transient become 500 and 503. `takes`: parameters of the query that it gets as keyword arguments, as far as
        they are given.

        With several sidecars in the process the path is `/SIDECAR/name`.
        """
        self.triggers[name] = act
        self.takes[name] = takes

    def forget(self) -> None:
        """Ask nothing more of a run that crashed: what it would answer about its state is not so any more."""
        self.provider = dict
        self.tables = None
        self.triggers = dict.fromkeys(self.triggers, self._away)

    async def _away(self, **_: str) -> NoReturn:
        raise Transient(f"{self.name} crashed and has not been started again yet")

    def shown(self) -> dict[str, Any]:
        """Return this sidecar's part of /status."""
        return dict(self.provider())


class AdminServer:
    """One HTTP server for all sidecars of the process."""

    def __init__(self, admins: Sequence[Admin], registry: CollectorRegistry, stop: Stop) -> None:
        self._admins = admins
        self._registry = registry
        self._stop = stop
        self._began = monotonic()
        self._began_at = now()
        self._server: Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._pages: dict[str, Callable[[BaseRequest], Response]] = {
            "/livez": lambda _: Response(text="ok\n"),
            "/startupz": self._startupz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port. Raise SettingsError naming admin_host or admin_port when that cannot be had."""
        # handler_cancellation stays off: a trigger that has begun is finished even when the caller hangs up.
        self._server = Server(self._answer, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=1.0)
        try:
            sockets = await listening_sockets(host, port)
        except (OSError, UnicodeError) as error:  # a host name that cannot be one is the latter
            raise SettingsError([_refused(error, host, port)]) from None
        loop = asyncio.get_running_loop()
        self._listeners = [await loop.create_server(self._server, sock=each) for each in sockets]
        return int(sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop the connections; never takes longer than about LEAVE_SECONDS."""
        for listener in self._listeners:
            listener.close()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(LEAVE_SECONDS / 2)  # aiohttp waits twice: for the answer, then for the task

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        trigger, takes = self._trigger(request.path)
        if trigger is not None:
            return await self._pull(trigger, takes, request)
        page = self._pages.get(request.path)
        if page is None:
            return _json({"error": f"no such page; there are {', '.join(sorted(self._pages))}"}, 404)
        if request.method not in {"GET", "HEAD"}:
            return _json({"error": "use GET"}, 405, {"Allow": "GET, HEAD"})
        return page(request)

    def _trigger(self, path: str) -> tuple[Trigger | None, tuple[str, ...]]:
        if path == "/quit":
            return self._quit, ()
        sidecar, _, name = path.removeprefix("/").rpartition("/")
        alone = len(self._admins) == 1
        for admin in self._admins:
            if name in admin.triggers and sidecar == ("" if alone else admin.name):
                return admin.triggers[name], admin.takes[name]
        return None, ()

    async def _quit(self) -> None:
        self._stop.request("POST /quit")

    async def _pull(self, trigger: Trigger, takes: tuple[str, ...], request: BaseRequest) -> Response:
        if request.method != "POST":
            return _json({"error": "use POST"}, 405, {"Allow": "POST"})
        if not is_loopback(request.transport):
            return _json(
                {"error": "answered on loopback only: call it from a container of this pod, at 127.0.0.1"}, 403
            )
        given = dict(request.query)
        if takes and (others := given.keys() - set(takes)):
            return _json({"error": f"there is no parameter {min(others)[:80]!r}; there is {', '.join(takes)}"}, 400)
        try:
            return _json(await trigger(**{name: given[name] for name in takes if name in given}) or {"done": True}, 200)
        except Permanent as error:
            return _json({"error": str(error)}, 500)
        except Transient as error:
            return _json({"error": str(error)}, 503)

    def _startupz(self, _: BaseRequest) -> Response:
        waiting = [admin.name for admin in self._admins if not admin.health.started]
        return Response(
            text=f"not started: {', '.join(waiting)}\n" if waiting else "started\n", status=503 if waiting else 200
        )

    @property
    def _ready(self) -> bool:
        return not self._stop.requested and all(admin.health.ready for admin in self._admins)

    def _conditions(self) -> list[dict[str, Any]]:
        """Return all conditions, with the sidecar's name in front when there are several, and the two that the runtime
        knows.
        """
        shown: list[Condition] = []
        for admin in self._admins:
            prefix = f"{admin.name}/" if len(self._admins) > 1 else ""
            if not admin.health.started:
                shown.append(Condition(f"{prefix}start", State.FAILING, "not started yet", self._began_at))
            shown += [Condition(prefix + c.name, c.state, c.reason, c.since) for c in admin.health.conditions]
        if self._stop.requested:
            shown.append(Condition("stop", State.FAILING, f"stopping: {self._stop.reason}", self._stop.since))
        return [{"name": c.name, "state": c.state, "reason": c.reason, "since": rfc3339(c.since)} for c in shown]

    def _readyz(self, _: BaseRequest) -> Response:
        return _json({"ready": self._ready, "conditions": self._conditions()}, 200 if self._ready else 503)

    def _metrics(self, request: BaseRequest) -> Response:
        body, content_type = expose(self._registry, request.headers.get("Accept", ""))
        return Response(body=body, headers={"Content-Type": content_type})

    def _status(self, request: BaseRequest) -> Response:
        if request.query.get("format") == "table" and any(admin.tables for admin in self._admins):
            return Response(text="\n".join(admin.tables() for admin in self._admins if admin.tables))
        several = len(self._admins) > 1
        core = {
            "name": " ".join(admin.name for admin in self._admins),
            "version": __version__,
            "uptime_seconds": round(monotonic() - self._began, 3),
            "ready": self._ready,
            "conditions": self._conditions(),
            "stop": {"requested": self._stop.requested, "reason": self._stop.reason},
        }
        parts = (
            {"sidecars": {admin.name: admin.shown() for admin in self._admins}} if several else self._admins[0].shown()
        )
        return _json({**parts, **core}, 200)


async def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of the host, bound to one port. Raise OSError when none can be had.

    Not asyncio's own: it limits `::` to IPv6, whatever the system's default (create_server sets IPV6_V6ONLY).
    """
    host = host.removeprefix("[").removesuffix("]").removesuffix(".")
    if host in _EVERYWHERE:
        try:
            return [_bound(socket.AF_INET6, ("::", port))]
        except OSError as error:
            if error.errno in _IN_USE:
                raise
            return [_bound(socket.AF_INET, ("0.0.0.0", port))]  # a kernel without IPv6
    found = await _addresses(host, port)
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, address in found:
        taken = sockets[0].getsockname()[1] if sockets and not port else address[1]
        try:
            sockets.append(_bound(family, (address[0], taken, *address[2:])))
        except OSError as error:  # such as ::1 of a localhost in /etc/hosts where there is no IPv6
            problem = problem if problem and error.errno in _NOT_OURS else error
    if problem and (not sockets or problem.errno not in _NOT_OURS):
        for each in sockets:
            each.close()
        raise problem
    return sockets


async def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the families and addresses of a host."""
    try:
        version = ipaddress.ip_address(host).version if "%" not in host else 0
    except ValueError:
        version = 0
    if version:  # no look-up, and no thread for it
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    """Return a socket that is bound there; on `::` it takes IPv4 too."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former process in TIME_WAIT
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _refused(error: OSError | UnicodeError, host: str, port: int) -> Problem:
    """Return the problem with the one of the two settings that is to blame."""
    what = f"cannot listen there: {getattr(error, 'strerror', None) or error}"
    unknown_host = isinstance(error, UnicodeError | socket.gaierror) or error.errno in _NOT_OURS
    if unknown_host:
        return Problem("admin_host", what, "set it to an address of this pod, or :: for all", value=host)
    return Problem(
        "admin_port", what, f"set another one (admin_host is {host}), or 0 for any free port", value=str(port)
    )


def is_loopback(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether the other end is on this pod's loopback: 127/8, ::1, or 127/8 mapped into IPv6. Headers are not
    asked: they can be made up.
    """
    peer = transport.get_extra_info("peername") if transport else None
    if not isinstance(peer, tuple):
        return False
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _json(value: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body=encode_json(value) + b"\n", status=status, content_type="application/json", headers=headers)
