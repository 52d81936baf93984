"""Probes and hooks, carried out: HTTP and TCP from outside to the pod's address, as the kubelet does (pkg/probe,
pkg/kubelet/lifecycle/handlers.go), programs inside the container.
"""

import http.client
import socket
import threading

from tests.pods.lifecycle.manifest import Exec, Hook, HttpGet, Probe, TcpSocket
from tests.support.engine import Engine, EngineError

_HOOK_SECONDS = 600.0


def probe(engine: Engine, ip: str, container: str, wanted: Probe) -> bool:
    """Whether the probe is passed, within its timeout."""
    if wanted.http_get is not None:
        return _http(ip, wanted.http_get, wanted.timeout_seconds)
    if wanted.tcp_socket is not None:
        return _connects(ip, wanted.tcp_socket, wanted.timeout_seconds)
    return wanted.exec is not None and _exits_well(engine, container, wanted.exec, wanted.timeout_seconds)


def hook(engine: Engine, ip: str, container: str, wanted: Hook, gone: threading.Event) -> bool:
    """Whether a postStart or preStop hook did well; a sleep ends when the container is gone."""
    if wanted.sleep is not None:
        gone.wait(wanted.sleep.seconds)
        return True
    if wanted.http_get is not None:
        return _http(ip, wanted.http_get, _HOOK_SECONDS)
    return wanted.exec is not None and _exits_well(engine, container, wanted.exec, _HOOK_SECONDS)


def _http(ip: str, wanted: HttpGet, seconds: float) -> bool:
    connection = http.client.HTTPConnection(ip, wanted.port, timeout=seconds)
    try:
        connection.request("GET", wanted.path, headers={"User-Agent": "kube-probe/podlab"})
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connects(ip: str, wanted: TcpSocket, seconds: float) -> bool:
    try:
        socket.create_connection((ip, wanted.port), seconds).close()
    except OSError:
        return False
    return True


def _exits_well(engine: Engine, container: str, wanted: Exec, seconds: float) -> bool:
    try:
        engine.run_inside(container, wanted.command, seconds)
    except EngineError:
        return False
    return True
