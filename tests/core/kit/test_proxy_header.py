"""PROXY headers are written as haproxy reads them, and read strictly."""

import socket
import struct
from ipaddress import ip_address

import pytest

from sidecars.kit.net.core.proxy_header import SIGNATURE, NotProxied, Origin, ProxyVersion, read, write

V4 = (("192.0.2.1", 51000), ("198.51.100.7", 5432))
V6 = (("2001:db8::1", 51000), ("2001:db8::2", 5432))
MIXED = (("192.0.2.1", 51000), ("2001:db8::2", 5432))


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


PAIR4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.7") + struct.pack("!HH", 51000, 5432)

READ = {
    "v1, IPv4": (b"PROXY TCP4 192.0.2.1 198.51.100.7 51000 5432\r\n", Origin(*V4)),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 51000 5432\r\n", Origin(*V6)),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", Origin()),
    "v1, unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Origin()),
    "v2, IPv4": (v2(0x21, 0x11, PAIR4), Origin(*V4)),
    "v2, with TLVs": (v2(0x21, 0x11, PAIR4 + b"\x04\0\x03abc"), Origin(*V4)),
    "v2, LOCAL of any family": (v2(0x20, 0x77, b"whatever"), Origin()),
    "v2, a datagram": (v2(0x21, 0x12, PAIR4), Origin()),
    "v2, a Unix socket": (v2(0x21, 0x31, b"\0" * 216), Origin()),
}

REFUSED = {
    "plain bytes": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "a longer line": b"PROXY TCP4 " + b"1" * 100 + b"\r\n",
    "a line without end": b"PROXY " + b"x" * 101,
    "an address that is none": b"PROXY TCP4 300.0.2.7 198.51.100.7 51000 5432\r\n",
    "an address with a zero in front": b"PROXY TCP4 192.0.2.01 198.51.100.7 51000 5432\r\n",
    "another family": b"PROXY TCP4 2001:db8::1 198.51.100.7 51000 5432\r\n",
    "a scope": b"PROXY TCP6 fe80::1%eth0 2001:db8::2 51000 5432\r\n",
    "a port that is none": b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 5432\r\n",
    "a port with a sign": b"PROXY TCP4 192.0.2.1 198.51.100.7 +5100 5432\r\n",
    "a word too many": b"PROXY TCP4 192.0.2.1 198.51.100.7 51000 5432 1\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.7 51000 5432\r\n",
    "another protocol": b"PROXY UDP4 192.0.2.1 198.51.100.7 51000 5432\r\n",
    "version 3": v2(0x31, 0x11, PAIR4),
    "an unknown command": v2(0x22, 0x11, PAIR4),
    "too short for its addresses": v2(0x21, 0x11, PAIR4[:-1]),
    "endless": v2(0x21, 0x11, b"\0" * 4096),
}


@pytest.mark.parametrize(("data", "origin"), READ.values(), ids=READ)
def test_a_header_is_read_in_any_pieces_and_what_follows_is_left(data: bytes, origin: Origin) -> None:
    assert read(data + b"more") == (origin, len(data))
    for length in range(len(data)):
        assert read(data[:length]) is None


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(NotProxied):
        read(data)


@pytest.mark.parametrize("version", ProxyVersion)
@pytest.mark.parametrize("pair", [V4, V6, MIXED], ids=["v4", "v6", "mixed"])
def test_what_is_written_is_read_again(version: ProxyVersion, pair: tuple[tuple[str, int], tuple[str, int]]) -> None:
    header = write(version, *pair)
    found = read(header)
    assert found is not None
    origin, length = found
    assert length == len(header)
    assert origin.source is not None
    assert origin.destination == pair[1]
    source = ip_address(origin.source[0])
    assert getattr(source, "ipv4_mapped", None) or source == ip_address(pair[0][0])


@pytest.mark.parametrize("version", ProxyVersion)
def test_without_addresses_the_header_says_so(version: ProxyVersion) -> None:
    header = write(version, None, V4[1])
    assert read(header) == (Origin(), len(header))
