"""The header that a proxy puts in front of a connection, to say whose it is: PROXY protocol, versions 1 and 2.

Source: haproxy, doc/proxy-protocol.txt. Reading is strict where guessing would make somebody believe a wrong address.
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import StrEnum

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_BYTES = 107
"""No line of version 1 is longer."""
V2_BYTES = 16 + 2048
"""The longest header of version 2 that is taken: addresses and more of what others put in (TLVs) than is of use."""
_V1 = b"PROXY "
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: (4, 12), 0x21: (16, 36), 0x31: (108, 216)}
"""Family and transport: bytes of an address, bytes of both with their ports. Only streams."""


class ProxyVersion(StrEnum):
    """Which form is written."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose connection it is. `source`, `destination`: address and port; None: the proxy's own (a health check), or
    of a kind that is not told.
    """

    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


class NotProxied(ValueError):
    """What came is no PROXY header."""


def write(version: ProxyVersion, source: tuple[str, int] | None, destination: tuple[str, int] | None) -> bytes:
    """Return the header. Without addresses, or with a Unix socket's, it says that they are not told."""
    pair = _pair(source, destination)
    if version is ProxyVersion.V1:
        if pair is None:
            return b"PROXY UNKNOWN\r\n"
        (from_ip, from_port), (to_ip, to_port) = pair
        return f"PROXY TCP{from_ip.version} {from_ip} {to_ip} {from_port} {to_port}\r\n".encode()
    if pair is None:
        return SIGNATURE + struct.pack("!BBH", _LOCAL, 0, 0)
    (from_ip, from_port), (to_ip, to_port) = pair
    body = from_ip.packed + to_ip.packed + struct.pack("!HH", from_port, to_port)
    family = 0x11 if from_ip.version == 4 else 0x21
    return SIGNATURE + struct.pack("!BBH", _PROXY, family, len(body)) + body


def read(data: bytes) -> tuple[Origin, int] | None:
    """Return whose connection it is and how many bytes the header has; None: more has to come. Raises NotProxied."""
    if data.startswith(_V1):
        return _read_v1(data)
    if data.startswith(SIGNATURE):
        return _read_v2(data)
    if data and not (_V1.startswith(data) or SIGNATURE.startswith(data)):
        raise NotProxied("it begins like no PROXY header")
    return None


def _read_v1(data: bytes) -> tuple[Origin, int] | None:
    end = data.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(data) >= V1_BYTES:
            raise NotProxied("its line is longer than 107 bytes")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Origin(), end + 2
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:
        raise NotProxied("its line has not six words")
    version = int(words[1][3:])
    source = _address(words[2], version), _port(words[4])
    return Origin(source, (_address(words[3], version), _port(words[5]))), end + 2


def _read_v2(data: bytes) -> tuple[Origin, int] | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command not in {_LOCAL, _PROXY}:
        raise NotProxied("its version or command is unknown")
    if length + 16 > V2_BYTES:
        raise NotProxied(f"it is longer than {V2_BYTES} bytes")
    if len(data) < 16 + length:
        return None
    if command == _LOCAL or family not in _FAMILIES:  # of what we do not know, the connection's own addresses hold
        return Origin(), 16 + length
    size, both = _FAMILIES[family]
    if length < both:
        raise NotProxied("it is too short for its addresses")
    if family == 0x31:
        return Origin(), 16 + length
    body = data[16 : 16 + both]
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * size)
    source = str(ipaddress.ip_address(body[:size])), source_port
    return Origin(source, (str(ipaddress.ip_address(body[size : 2 * size])), destination_port)), 16 + length


def _pair(
    source: tuple[str, int] | None, destination: tuple[str, int] | None
) -> tuple[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int], ...] | None:
    """Return both addresses, in one family: an IPv4 address beside an IPv6 one is written as the latter."""
    if source is None or destination is None:
        return None
    first, second = ipaddress.ip_address(source[0].split("%")[0]), ipaddress.ip_address(destination[0].split("%")[0])
    if first.version != second.version:
        first, second = _as_v6(first), _as_v6(second)
    return (first, source[1]), (second, destination[1])


def _as_v6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _address(word: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:
        raise NotProxied("an address in it is none") from None
    if address.version != version or "%" in str(address):
        raise NotProxied("an address in it is of another family")
    return str(address)


def _port(word: bytes) -> int:
    if not (word.isdigit() and word.isascii() and len(word) <= 5) or (len(word) > 1 and word.startswith(b"0")):
        raise NotProxied("a port in it is none")
    port = int(word)
    if port > 65535:
        raise NotProxied("a port in it is none")
    return port
