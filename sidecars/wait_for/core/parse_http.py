"""HTTP targets: what is asked for, and how the answer has to be."""

import base64
import re
from urllib.parse import quote, unquote

from .address import Address, Options, host_and_port, options_of, unknown_options
from .names import ascii_name
from .statuses import parse_statuses
from .target import Http, JsonCondition, Mistake

_NAMES = ("status", "body", "json", "method", "header")
_METHOD = re.compile(r"[A-Za-z]{1,20}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # token, RFC 9110, 5.6.2
_SENT = "/?%:@!$&'()*+,;=~-._[]"
"""What stays as it was written; the rest (spaces, letters outside ASCII) is percent-encoded."""


def read_http(address: Address, mistakes: list[Mistake]) -> Http:
    """Return the target; what is wrong goes to `mistakes`."""
    options, query = _options_and_query(address, mistakes)
    if any("\ud800" <= c <= "\udfff" for c in f"{address.place}{address.path}{address.query}{address.fragment}"):
        mistakes.append(Mistake("it has bytes that are not UTF-8", "percent-encode them: write %FF for the byte 255"))
    tls = address.scheme == "https"
    host, port = host_and_port(address.place, 443 if tls else 80, mistakes)
    statuses, expected = _statuses(options, mistakes)
    path = "/***" if "@" in address.path else address.path  # it may be the rest of a password
    return Http(
        shown=f"{address.scheme}://{address.place}{path}",
        url=_url(address, host, port, query),
        host=host,
        tls=tls,
        method=_method(options, mistakes),
        headers=_headers(address, options, mistakes),
        statuses=statuses,
        expected=expected,
        body=_body(options, mistakes),
        json=_json(options, mistakes),
    )


def _options_and_query(address: Address, mistakes: list[Mistake]) -> tuple[Options, str]:
    if address.fragment is None:
        parts = address.query.split("&")
        ours = [part for part in parts if unquote(part.partition("=")[0]) in _NAMES]
        return options_of("&".join(ours)), "&".join(part for part in parts if part not in ours)
    options = options_of(address.fragment)
    mistakes.extend(unknown_options(address, options, _NAMES, f"there are {', '.join(_NAMES)}"))
    return options, address.query


def _url(address: Address, host: str, port: int, query: str) -> str:
    # without the dot of an absolute name: certificates and virtual hosts know none (the lookup keeps it)
    place = f"[{host.replace('%', '%25')}]" if ":" in host else (ascii_name(host) or host).removesuffix(".")
    sent = (address.path or "/") + (f"?{query}" if query else "")
    return f"{address.scheme}://{place}:{port}{quote(sent, safe=_SENT, errors='replace')}"


def _method(options: Options, mistakes: list[Mistake]) -> str:
    method = options.one("method", mistakes) or "GET"
    if not _METHOD.fullmatch(method):
        mistakes.append(Mistake("its method is no word", "write for example method=HEAD"))
    return method.upper()


def _statuses(options: Options, mistakes: list[Mistake]) -> tuple[frozenset[int], str]:
    text = options.one("status", mistakes)
    expected = "2xx" if text is None else text
    try:
        return parse_statuses(expected), expected
    except ValueError as error:
        mistakes.append(
            Mistake(f"its status cannot be read: {error}", "write for example status=2xx or status=200,204")
        )
        return frozenset(), expected


def _body(options: Options, mistakes: list[Mistake]) -> str | None:
    text = options.one("body", mistakes)
    try:
        re.compile(text or "")
    except (re.error, RecursionError, OverflowError) as error:
        reason = error.msg if isinstance(error, re.error) else "it is too large"
        mistakes.append(
            Mistake(f"its body is no regular expression: {reason}", "put a \\ before signs meant literally")
        )
        return None
    return text


def _json(options: Options, mistakes: list[Mistake]) -> JsonCondition | None:
    text = options.one("json", mistakes)
    if text is None:
        return None
    path, equals, value = text.partition("=")
    steps = tuple(re.sub(r"\[([0-9]+)\]", r".\1", path).removeprefix(".").split("."))
    if not all(steps):
        mistakes.append(Mistake("its json path has an empty step", "write for example json=status.ready=true"))
    return JsonCondition(steps, value if equals else None)


def _headers(address: Address, options: Options, mistakes: list[Mistake]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for text in options.every("header"):
        # as the setting `headers` writes them; a colon, as it is sent, is understood too
        separator = re.search("[=:]", text)
        name, value = (text[: separator.start()], text[separator.end() :].strip()) if separator else ("", "")
        if header_fault(name, value):
            mistakes.append(Mistake("one of its headers cannot be sent", "write for example header=X-Probe=wait-for"))
        found.append((name, value))
    if address.user is not None:
        user = unquote(address.user)
        pair = user if ":" in user else f"{user}:"  # RFC 7617 wants the colon, also without a password
        encoded = base64.b64encode(pair.encode(errors="surrogateescape")).decode()
        found.append(("Authorization", f"Basic {encoded}"))
    return tuple(found)


def header_fault(name: str, value: str) -> str:
    """Return why a header cannot be sent, or an empty text; the value is not repeated."""
    if not _HEADER_NAME.fullmatch(name):
        return "its name is not a word of letters, digits and -"
    if any(ord(c) < 32 and c != "\t" for c in value) or "\x7f" in value:
        return "its value has a control character"
    return ""
