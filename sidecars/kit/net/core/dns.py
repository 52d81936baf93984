"""As much of DNS as it takes to ask for SRV records, which getaddrinfo(3) cannot: queries and answers as bytes.

Sources: RFC 1035 (4, messages; 4.1.4, compression), RFC 2782 (SRV), resolv.conf(5).
"""

import struct
from dataclasses import dataclass

SRV = 33
_INTERNET, _OPT = 1, 41
_UDP_BYTES = 1232
"""What passes everywhere without fragments; said to the server by EDNS (RFC 6891)."""
_NO_SUCH_NAME, _RECURSION, _ANSWER, _TRUNCATED = 3, 0x0100, 0x8000, 0x0200
_JUMPS = 64


class NoAnswer(ValueError):
    """What came answers not this question, or says that the server has failed."""


class AskByTcp(NoAnswer):
    """There is more than fits into a datagram: ask by TCP."""


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record: where one server of a service is."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class NameServers:
    """What resolv.conf says: whom to ask, and which domains to try after a name."""

    addresses: tuple[str, ...]
    search: tuple[str, ...] = ()
    dots: int = 1


def read_resolv_conf(text: str) -> NameServers:
    """Read resolv.conf: of `search` and `domain` the last one counts; without a name server it is this machine."""
    addresses: list[str] = []
    search: tuple[str, ...] = ()
    dots = 1
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                addresses.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domain.rstrip(".") for domain in domains)
            case ["options", *options]:
                for option in options:
                    if option.startswith("ndots:") and option[6:].isdigit():
                        dots = min(int(option[6:]), 15)
    return NameServers(tuple(addresses[:3]) or ("127.0.0.1",), search, dots)


def candidates(name: str, servers: NameServers) -> tuple[str, ...]:
    """Return the names to ask for, one after the other: with fewer dots than `ndots` the domains are tried first."""
    if name.endswith("."):
        return (name.rstrip("."),)
    searched = [f"{name}.{domain}" for domain in servers.search if domain]
    whole = [name]
    return tuple(whole + searched if name.count(".") >= servers.dots else searched + whole)


def write_query(number: int, name: str, kind: int = SRV) -> bytes:
    """Return a question, with EDNS. Raise ValueError for what is no name."""
    labels = name.encode("ascii").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or len(name) > 253:
        raise ValueError(f"{name} is no name")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    head = struct.pack("!HHHHHH", number, _RECURSION, 1, 0, 0, 1)
    return head + encoded + struct.pack("!HH", kind, _INTERNET) + b"\0" + struct.pack("!HHIH", _OPT, _UDP_BYTES, 0, 0)


def read_services(data: bytes, number: int, name: str) -> tuple[Service, ...]:
    """Return the records of an answer, the first to try first; none when there is no such name. Raise NoAnswer,
    AskByTcp.
    """
    try:
        return _read_services(data, number, name)
    except (struct.error, IndexError):
        raise NoAnswer("it ends too early") from None


def _read_services(data: bytes, number: int, name: str) -> tuple[Service, ...]:
    answers, flags, questions, records = struct.unpack_from("!HHHH", data)
    if answers != number or not flags & _ANSWER or questions != 1:
        raise NoAnswer("it answers another question")
    asked, at = _name(data, 12)
    kind, _ = struct.unpack_from("!HH", data, at)
    if (asked.lower(), kind) != (name.lower(), SRV):
        raise NoAnswer("it answers another question")
    if flags & _TRUNCATED:
        raise AskByTcp("it is truncated")
    if (code := flags & 0xF) not in {0, _NO_SUCH_NAME}:
        raise NoAnswer(f"the name server has failed (code {code})")
    at += 4
    services = []
    for _ in range(records):
        _, at = _name(data, at)
        kind, _, _, length = struct.unpack_from("!HHIH", data, at)
        at += 10
        if kind == SRV:
            priority, weight, port = struct.unpack_from("!HHH", data, at)
            target, _ = _name(data, at + 6)
            if target:  # the root: the service is decidedly not there (RFC 2782)
                services.append(Service(priority, weight, port, target))
        at += length
    return tuple(sorted(services, key=lambda one: (one.priority, -one.weight, one.target, one.port)))


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Return the name that stands there, without its last dot, and where it ends."""
    labels: list[str] = []
    end = 0
    for _ in range(_JUMPS):
        length = data[at]
        if length >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", data, at)[0] & 0x3FFF
        elif not length:
            return ".".join(labels), end or at + 1
        else:
            labels.append(data[at + 1 : at + 1 + length].decode("ascii", errors="replace"))
            at += 1 + length
    raise NoAnswer("a name in it has no end")
