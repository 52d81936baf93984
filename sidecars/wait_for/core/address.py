"""The parts of a target's text, and host names that can never be: waiting for one would only end with the time limit.

Taken apart by hand: urllib's split drops characters, and refuses with a traceback what we want to name.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from .target import Mistake

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_QUAD = re.compile(r"[0-9]+(\.[0-9]+){3}")


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """`scheme://user:password@host:port/path?query#fragment`, nothing decoded. `fragment` is None without a `#`."""

    scheme: str
    user: str | None
    place: str
    path: str
    query: str
    fragment: str | None

    @property
    def hides_a_password(self) -> bool:
        """Return whether its password may hold a / ? or # as it stands, and so lie where no secret belongs."""
        return "@" in f"{self.path}?{self.query}#{self.fragment}"


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """The options of a target, decoded, in their order."""

    pairs: tuple[tuple[str, str], ...]

    def one(self, name: str, mistakes: list[Mistake]) -> str | None:
        """Return the value of an option that may be given once, or None."""
        found = self.every(name)
        if len(found) > 1:
            mistakes.append(Mistake(f"the option {name} is given {len(found)} times", "give it once"))
        return found[0] if found else None

    def every(self, name: str) -> list[str]:
        """Return all values of an option."""
        return [value for key, value in self.pairs if key == name]


def take_apart(text: str) -> TargetAddress:
    """Split a text; without a scheme it is a bare `host:port`, which means tcp."""
    rest, has_fragment, fragment = text.partition("#")
    rest, _, query = rest.partition("?")
    scheme, _, rest = rest.partition("://") if "://" in rest else ("tcp", "", rest)
    authority, slash, path = rest.partition("/")
    user, at, place = authority.rpartition("@")
    return TargetAddress(
        scheme=scheme.lower(),
        user=user if at else None,
        place=place,
        path=slash + path,
        query=query,
        fragment=fragment if has_fragment else None,
    )


def without_secrets(text: str) -> str:
    """Return a text that may not even be a target, for a message: no query, no options, and not too long. Of one with
    an @ only the scheme: where its password ends is what may be wrong.
    """
    text = text.strip()
    if "@" in text:
        scheme = _SCHEME.match(text)
        return f"{scheme.group() if scheme else ''}***"
    shown = re.split(r"[?#]", text, maxsplit=1)[0]
    shown = "".join(c if c.isprintable() else "?" for c in shown)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def host_and_port(place: str, default: int | None, mistakes: list[Mistake]) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 address in brackets. What is wrong goes to `mistakes`."""
    host, port = _bracketed(place, mistakes) if place.startswith("[") else _plain(place, mistakes)
    if not host:
        mistakes.append(Mistake("it names no host", "write for example tcp://db:5432"))
    if port is None:
        if default is None:
            mistakes.append(Mistake("it names no port", f"write for example {host or 'db'}:5432"))
        return host, default or 0
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        mistakes.append(Mistake("its port is not a number from 1 to 65535", "write for example db:5432"))
        return host, 0
    return host, int(port)


def _plain(place: str, mistakes: list[Mistake]) -> tuple[str, str | None]:
    host, colon, port = place.partition(":")
    if ":" in port and _is_ipv6(place):
        mistakes.append(Mistake("an IPv6 address stands without brackets", f"write [{place}]:PORT"))
        return place, "1"
    return unquote(host), port if colon else None


def _bracketed(place: str, mistakes: list[Mistake]) -> tuple[str, str | None]:
    host, bracket, rest = place[1:].partition("]")
    if not bracket or not _is_ipv6(host) or (rest and not rest.startswith(":")):
        mistakes.append(Mistake("between its brackets is no IPv6 address", "write for example [fd00::1]:5432"))
        return "::", "1"
    return host, rest[1:] if rest else None


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address)
    except ValueError:
        return False


def options_of(text: str) -> TargetOptions:
    """Read `name=value&name=value`. A `+` stays a plus: it is more often part of a regular expression than a space."""
    parts = (part.partition("=") for part in text.split("&") if part)
    return TargetOptions(tuple((unquote(name), unquote(value)) for name, _, value in parts))


def unknown_options(
    address: TargetAddress, options: TargetOptions, known: tuple[str, ...], there_are: str
) -> Iterator[Mistake]:
    """Name what is none of the known options, unless it may be the rest of a password."""
    for name in dict.fromkeys(name for name, _ in options.pairs if name not in known):
        yield Mistake(
            f"there is no option {'of that name' if address.hides_a_password else repr(name[:40])}", there_are
        )


def host_fault(host: str) -> str:
    """Return why nothing can ever be called that, or an empty text. An IPv6 address is left to `host_and_port`.

    The limits are those of RFC 1035, 2.3.4; the underscore is in no RFC for hosts and in many clusters. A name that
    does not resolve today is no fault: its Service may come.
    """
    if ":" in host:
        return ""
    name = ascii_name(host)
    if name is None:
        return "it cannot be encoded as an international domain name"
    name = name.removesuffix(".")
    if len(name) > 253:
        return f"it has {len(name)} characters, a name has at most 253"
    for label in name.split("."):
        if not label:
            return "one of its labels is empty"
        if len(label) > 63:
            return f"one of its labels has {len(label)} characters, a label has at most 63"
        if not _LABEL.fullmatch(label):
            return "it has other characters than letters, digits, - _ and ."
    if _QUAD.fullmatch(name) and any(int(number) > 255 for number in name.split(".")):
        return "it is neither an IPv4 address nor a name"
    return ""


def ascii_name(host: str) -> str | None:
    """Return the name as it is looked up (`bücher.example` is `xn--bcher-kva.example`), None when there is no such
    form.
    """
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
