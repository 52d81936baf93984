"""The part of the query language that a test or a person needs to find log lines again.

A query becomes a predicate over a parsed document; nothing is indexed beforehand, so a search costs about two
microseconds per document and writing costs nothing.
"""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from .errors import JsonObject, bad_request
from .fields import sortable, values_of, words
from .mapping import FieldMapping

Predicate = Callable[[JsonObject], bool]
_TEXT = "text"


def compile_query(query: JsonObject, mapping: FieldMapping) -> Predicate:
    """The predicate of a query. Raises: RestError 400 for a query that the stand-in does not know."""
    if len(query) != 1:
        raise bad_request("query malformed, must start with exactly one field", "parsing_exception")
    ((name, body),) = query.items()
    compiler = _QUERIES.get(name)
    if compiler is None:
        raise bad_request(f"unknown query [{name}]", "parsing_exception")
    return compiler(body, mapping)


def _bare(field: str, mapping: FieldMapping) -> tuple[str, bool]:
    """The field a name stands for, and whether it is compared word by word."""
    if field.endswith(".keyword") and mapping.kind_of(field) is None:
        return field.removesuffix(".keyword"), False
    return field, mapping.kind_of(field) == _TEXT


def _single(body: JsonObject, key: str) -> tuple[str, Any, JsonObject]:
    ((field, value),) = body.items()
    options = value if isinstance(value, dict) else {}
    return field, options.get(key) if options else value, options


def _match_all(_body: JsonObject, _mapping: FieldMapping) -> Predicate:
    return lambda _document: True


def _term(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, value, _ = _single(body, "value")
    return _terms({field: [value]}, mapping)


def _terms(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, wanted = next((key, value) for key, value in body.items() if key != "boost")
    name, by_word = _bare(field, mapping)
    plain = {_plain(value) for value in wanted}
    if by_word:
        return lambda document: any(not plain.isdisjoint(words(str(value))) for value in values_of(document, name))
    return lambda document: any(_plain(value) in plain for value in values_of(document, name))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _match(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, wanted, options = _single(body, "query")
    name, _ = _bare(field, mapping)
    if mapping.kind_of(field) not in (_TEXT, None):
        return _terms({field: [wanted]}, mapping)
    every = str(options.get("operator", "or")).lower() == "and"
    terms = set(words(str(wanted)))

    def fits(document: JsonObject) -> bool:
        found = {word for value in values_of(document, name) for word in words(str(value))}
        return terms <= found if every else not terms.isdisjoint(found)

    return fits


def _match_phrase(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, wanted, _ = _single(body, "query")
    name, _ = _bare(field, mapping)
    phrase = f" {' '.join(words(str(wanted)))} "
    return lambda document: any(phrase in f" {' '.join(words(str(value)))} " for value in values_of(document, name))


def _exists(body: JsonObject, _mapping: FieldMapping) -> Predicate:
    field = str(body["field"])
    return lambda document: bool(values_of(document, field))


def _ids(body: JsonObject, _mapping: FieldMapping) -> Predicate:
    wanted = set(body.get("values", []))
    return lambda document: document.get("_id") in wanted


def _pattern(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, wanted, _ = _single(body, "value")
    name, _ = _bare(field, mapping)
    return lambda document: any(fnmatchcase(str(value), str(wanted)) for value in values_of(document, name))


def _prefix(body: JsonObject, mapping: FieldMapping) -> Predicate:
    field, wanted, _ = _single(body, "value")
    name, _ = _bare(field, mapping)
    return lambda document: any(str(value).startswith(str(wanted)) for value in values_of(document, name))


def _range(body: JsonObject, mapping: FieldMapping) -> Predicate:
    ((field, bounds),) = body.items()
    name, _ = _bare(field, mapping)
    limits = [(key, sortable(bounds[key])) for key in ("gt", "gte", "lt", "lte") if bounds.get(key) is not None]

    def fits(document: JsonObject) -> bool:
        return any(
            all(_COMPARE[key](sortable(value), limit) for key, limit in limits) for value in values_of(document, name)
        )

    return fits


_COMPARE: dict[str, Callable[[tuple[int, Any], tuple[int, Any]], bool]] = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
}


def _bool(body: JsonObject, mapping: FieldMapping) -> Predicate:
    parts = {
        key: [compile_query(query, mapping) for query in _listed(body.get(key, []))]
        for key in ("must", "filter", "should", "must_not")
    }
    every = parts["must"] + parts["filter"]
    least = int(body.get("minimum_should_match", 0 if every else 1)) if parts["should"] else 0

    def fits(document: JsonObject) -> bool:
        if not all(predicate(document) for predicate in every):
            return False
        if any(predicate(document) for predicate in parts["must_not"]):
            return False
        return sum(predicate(document) for predicate in parts["should"]) >= least

    return fits


def _listed(value: Any) -> list[JsonObject]:
    return [value] if isinstance(value, dict) else list(value)


def _query_string(body: JsonObject, mapping: FieldMapping) -> Predicate:
    """`field:value`, `field:"a phrase"`, bare words and phrases, joined by AND, OR and NOT from left to right."""
    tokens = re.findall(r'[\w.@]+:"[^"]*"|"[^"]*"|\S+', str(body.get("query", "*")))
    operator = str(body.get("default_operator", "or")).upper()
    result: Predicate | None = None
    joined, negated = operator, False
    for token in tokens:
        if token in ("AND", "OR", "NOT"):
            joined, negated = (joined, True) if token == "NOT" else (token, negated)
            continue
        fits = _negation(_token(token, mapping)) if negated else _token(token, mapping)
        result = fits if result is None else _joined(result, fits, every=joined == "AND")
        joined, negated = operator, False
    return result or (lambda _document: True)


def _negation(fits: Predicate) -> Predicate:
    return lambda document: not fits(document)


def _joined(one: Predicate, other: Predicate, *, every: bool) -> Predicate:
    if every:
        return lambda document: one(document) and other(document)
    return lambda document: one(document) or other(document)


def _token(token: str, mapping: FieldMapping) -> Predicate:
    field, colon, value = token.partition(":") if not token.startswith('"') else ("", "", token)
    if not colon:
        phrase = f" {' '.join(words(token))} "
        if token in ("*", "*:*"):
            return lambda _document: True
        return lambda document: any(phrase in f" {' '.join(words(text))} " for text in _texts(document))
    if value.startswith('"'):
        return _match_phrase({field: value.strip('"')}, mapping)
    return _pattern({field: value}, mapping) if "*" in value else _match({field: value}, mapping)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for child in value.values() for text in _texts(child)]
    if isinstance(value, list):
        return [text for child in value for text in _texts(child)]
    return [str(value)]


_QUERIES: dict[str, Callable[[JsonObject, FieldMapping], Predicate]] = {
    "match_all": _match_all,
    "term": _term,
    "terms": _terms,
    "match": _match,
    "match_phrase": _match_phrase,
    "exists": _exists,
    "ids": _ids,
    "wildcard": _pattern,
    "prefix": _prefix,
    "range": _range,
    "bool": _bool,
    "query_string": _query_string,
    "simple_query_string": _query_string,
}
