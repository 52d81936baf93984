"""Host names that can be, and those that never can: waiting for the latter would only end with the time limit."""

import re

_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_QUAD = re.compile(r"[0-9]+(\.[0-9]+){3}")


def fault(host: str) -> str:
    """Return why nothing can ever be called that, or an empty text. An IPv6 address is not looked at (see address.py).

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
