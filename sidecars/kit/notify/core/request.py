"""Say where an HTTP request goes, and what of it may be shown."""

import base64
from urllib.parse import parse_qsl, quote, urlsplit

from .change import Change
from .options import Http


def shown(url: str) -> str:
    """Return the address without user info, query and fragment: what logs may show."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(an address that cannot be read)"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if "@" in url and "@" not in parts.netloc:  # a password with / ? or # in it, whose beginning passes for the port
        return f"{parts.scheme}://..."
    return f"{parts.scheme}://{host}{port}{parts.path}"


def address(url: str, change: Change) -> str:
    """Return the address to ask for: placeholders filled, without the user (that becomes a header)."""
    candidate = quote(change.candidate.encode(errors="surrogateescape"))
    parts = urlsplit(Change(change.hash, candidate).fill(url))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def secrets(step: Http, change: Change, authorization: str) -> frozenset[str]:
    """Return what an answer may repeat and nobody is to read: the value of Authorization that was sent and what it was
    made of, the values of headers, and those of the query.
    """
    found = {change.fill(value) for value in step.headers.values()} | {authorization}
    scheme, _, value = authorization.partition(" ")
    found.add(value)
    if scheme == "Basic":
        found.add(base64.b64decode(value).decode(errors="surrogateescape").partition(":")[2])
    query = urlsplit(change.fill(step.url)).query
    found |= {query, *(value for _, value in parse_qsl(query)), *(pair.partition("=")[2] for pair in query.split("&"))}
    words = {word for text in tuple(found) for word in text.split()}  # `X-Token: Token abc` may come back as `abc`
    return frozenset((found | words) - {"", "Basic", "Bearer", change.hash, change.candidate})
