"""The texts that name a place: `host:port`, `[::1]:5432`, `unix:/run/db`, `srv://_postgres._tcp.db.svc`. Pure."""

import ipaddress
import re
from dataclasses import dataclass

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_UNIX, _SRV = "unix:", "srv://"
_SOCKET_BYTES = 107  # sun_path of Linux, without its NUL


class BadAddress(ValueError):
    """A text names no place; `remedy` says what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host, or an IP address without brackets, and its port; 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServiceName:
    """The name of SRV records, which name hosts and ports."""

    name: str

    @property
    def domain(self) -> str:
        """The domain of the service: whom its certificates are for, as DNS itself is not to be believed (RFC 6125)."""
        return re.sub(r"^(_[^.]*\.)+", "", self.name)

    def __str__(self) -> str:
        return f"{_SRV}{self.name}"


@dataclass(frozen=True, slots=True)
class SocketPath:
    """A Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


def host_address(text: str, *, any_port: bool = False) -> HostAddress:
    """Read `host:port`. Raise BadAddress."""
    text = text.strip()
    bracketed = re.fullmatch(r"\[([^\]]*)\]:(.*)", text)
    host, port = (bracketed[1], bracketed[2]) if bracketed else text.rpartition(":")[::2]
    if not host:
        raise BadAddress("it is no host and port", "write it as HOST:PORT, such as db-1:5432")
    if (":" in host or bracketed) and not (bracketed and _is_ipv6(host)):
        raise BadAddress("it is no host and port", "write an IPv6 address in brackets, such as [::1]:5432")
    if ":" not in host and not is_host(host):
        raise BadAddress(f"{host[:80]!r} is no name of a host", "write it as HOST:PORT, such as db-1:5432")
    if not _PORT.fullmatch(port) or not (0 if any_port else 1) <= int(port) <= 65535:
        raise BadAddress("its port is not a number from 1 to 65535", "write it as HOST:PORT, such as db-1:5432")
    return HostAddress(host, int(port))


def check_address(text: str) -> HostAddress:
    """Read where an upstream is checked: `host:port`, or `:port` for the host of the upstream itself, which is empty
    then. Raise BadAddress.
    """
    text = text.strip()
    return HostAddress("", host_address(f"same{text}").port) if text.startswith(":") else host_address(text)


def upstream_address(text: str) -> HostAddress | ServiceName | SocketPath:
    """Read the address of an upstream. Raise BadAddress."""
    text = text.strip()
    if text.startswith(_SRV):
        name = text.removeprefix(_SRV).removesuffix(".")
        if not is_host(name) or name.count(".") < 2:
            raise BadAddress("it is no name of SRV records", "write it as srv://_postgres._tcp.db.svc")
        return ServiceName(name)
    if text.startswith(_UNIX):
        return _socket_path(text.removeprefix(_UNIX))
    return host_address(text)


def listen_address(text: str, socket_name: str = "") -> HostAddress | SocketPath:
    """Read where to listen. `socket_name` is appended to the path of a folder (one that ends in a slash, or has no
    dot in its last part). Raise BadAddress.
    """
    text = text.strip()
    if not text.startswith(_UNIX):
        return host_address(f"127.0.0.1{text}" if text.startswith(":") else text, any_port=True)
    path = text.removeprefix(_UNIX)
    if socket_name and (path.endswith("/") or "." not in path.rpartition("/")[2]):
        path = f"{path.rstrip('/')}/{socket_name}"
    return _socket_path(path)


def _socket_path(path: str) -> SocketPath:
    if not path.startswith("/") or path.endswith("/") or len(path.encode()) > _SOCKET_BYTES:
        raise BadAddress(f"it is no absolute path of at most {_SOCKET_BYTES} bytes", "write it as unix:/run/db/socket")
    return SocketPath(path)


def is_host(text: str) -> bool:
    """Whether a text can be the name of a host, or an IPv4 address. The underscore is in many clusters."""
    name = text.removesuffix(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return False
    return not re.fullmatch(r"[0-9.]+", name) or _is_ipv4(name)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
