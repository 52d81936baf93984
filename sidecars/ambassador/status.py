"""What /status shows: listeners, nodes with why they are not used, certificates; as JSON, and as a table for people."""

from collections.abc import Iterable, Sequence
from typing import Any

from sidecars.runtime.clock import monotonic, rfc3339

from .connecting.security import NodeTls
from .pool import NodePool, UpstreamNode
from .serving.desk import Desk


def described(desks: Sequence[Desk], addresses: dict[str, list[str]], tls: Sequence[NodeTls]) -> dict[str, Any]:
    """Return all of it."""
    return {
        "listeners": [_listener(desk, addresses.get(desk.plan.name, [])) for desk in desks],
        "upstreams": [_node(node) for pool in pools(desks) for node in pool.nodes],
        "certificates": [_certificate(one) for one in tls],
    }


def pools(desks: Iterable[Desk]) -> list[NodePool]:
    """Return the pools of listeners, each once."""
    return list(dict.fromkeys(desk.pool for desk in desks))


def _listener(desk: Desk, addresses: list[str]) -> dict[str, Any]:
    usable = desk.pool.choice(desk.plan.role)
    return {
        "name": desk.plan.name,
        "addresses": addresses,
        "protocol": desk.plan.protocol,
        "role": desk.plan.role,
        "tls": desk.plan.tls is not None,
        "connections": len(desk.sessions),
        "parked": desk.room.waiting,
        "usable": [node.shown for node in usable],
        "fault": None if usable else desk.pool.why_none(desk.plan.role),
    }


def _node(node: UpstreamNode) -> dict[str, Any]:
    state, now = node.state, monotonic()
    return {
        "name": node.shown,
        "address": node.upstream.address,
        "health": state.health,
        "role": state.role,
        "priority": node.priority,
        "weight": node.weight,
        "sessions": len(node.sessions),
        "ejected": state.is_ejected(now),
        "away": state.is_away(now),
        "detail": state.detail or None,
        "cause": state.cause,
        "last_connect_failure": state.connect_failure,
    }


def _certificate(tls: NodeTls) -> dict[str, Any]:
    expires = tls.certificates.expires_at
    return {
        "file": tls.settings.certificate_file or None,
        "ca_file": tls.settings.ca_file or None,
        "expires": None if expires is None else rfc3339(expires),
    }


def table(status: dict[str, Any]) -> str:
    """Return the same for people, in columns."""
    listeners = [("LISTENER", "PROTOCOL", "ROLE", "CONNECTIONS", "PARKED", "USES")]
    for one in status["listeners"]:
        uses = ", ".join(one["usable"][:1]) or one["fault"]
        where = ", ".join(one["addresses"])
        name = one["name"] if one["name"] in one["addresses"] else f"{one['name']} ({where})"
        listeners.append((name, one["protocol"], one["role"], str(one["connections"]), str(one["parked"]), uses))
    nodes = [("UPSTREAM", "HEALTH", "ROLE", "SESSIONS", "NOTE")]
    for one in status["upstreams"]:
        words = [word for word in ("ejected", "away") if one[word]] + ([one["detail"]] if one["detail"] else [])
        nodes.append((one["name"], one["health"], one["role"], str(one["sessions"]), ", ".join(words)))
    certificates = [("CERTIFICATE", "EXPIRES")]
    certificates += [(one["file"], one["expires"] or "unknown") for one in status["certificates"] if one["file"]]
    parts: list[list[tuple[str, ...]]] = [[*listeners], [*nodes]]
    if len(certificates) > 1:
        parts.append([*certificates])
    return "\n".join(_columns(part) for part in parts)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"
