"""The books of a log shipper, seen from both ends: what was written, and what arrived.

`arrived` reads everything back over REST, past the shipper; `assert_balanced` compares it with what was written.
`assert_law` holds the shipper's own books to their law, in one scrape.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.support.rest import call, count

_PAGE = 10_000
_NAMED = 5
_PREFIX = "sidecar_log_shipper_"
_WAYS = ("acknowledged_bytes_total", "dead_letter_bytes_total", "in_flight_bytes")

Samples = dict[str, float]
"""One scrape: by `name{label="value"}`, and by name alone where there are no labels."""


class Audit(NamedTuple):
    """Lines that are missing, that are there more than once, and that nobody wrote."""

    lost: list[str]
    doubled: list[str]
    strange: list[str]

    def __str__(self) -> str:
        parts = zip(self._fields, self, strict=True)
        return "; ".join(f"{len(lines)} {name} (such as {lines[:_NAMED]})" for name, lines in parts if lines)


def audit(written: Iterable[str], got: Iterable[str]) -> Audit:
    """Compare lines that were written with lines that arrived, in any order."""
    wanted, found = Counter(written), Counter(got)
    surplus = found - wanted
    return Audit(
        lost=sorted((wanted - found).elements()),
        doubled=sorted(line for line in surplus if line in wanted),
        strange=sorted(line for line in surplus if line not in wanted),
    )


def assert_balanced(written: Iterable[str], got: Iterable[str]) -> None:
    """Every written line arrived, once, and nothing else did."""
    result = audit(written, got)
    assert not any(result), str(result)


def arrived(url: str, target: str = "logs-*") -> list[dict[str, Any]]:
    """Every hit (`_id`, `_source`) in these indices or data streams; more than 10,000 only from the stand-in.

    Elasticsearch pages past its window by a unique sort key only; the stand-in's order of writing is one.
    """
    wanted = count(url, target)
    question: dict[str, Any] = {"size": _PAGE, "sort": ["log.offset", "_doc"]}
    found: list[dict[str, Any]] = []
    while len(found) < wanted:
        reply = call(url, "POST", f"/{target}/_search", question)
        assert reply.status == 200, reply
        hits: list[dict[str, Any]] = reply.body["hits"]["hits"]
        assert hits, f"{len(found)} documents were found where {wanted} were counted"
        found += hits
        question["search_after"] = hits[-1]["sort"]
    return found


def messages(hits: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines that these documents carry."""
    return [hit["_source"]["message"] for hit in hits]


def samples(exposition: str) -> Samples:
    """The values of a scrape, from Prometheus' text format."""
    found: Samples = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def assert_law(scrape: Samples) -> None:
    """Bytes read = acknowledged + dead-lettered + in flight, and none of them negative."""
    read = scrape[_PREFIX + "read_bytes_total"]
    parts = {name: scrape[_PREFIX + name] for name in _WAYS}
    assert read == sum(parts.values()), f"the books are wrong: {read} bytes read, but {parts}"
    assert min(parts.values()) >= 0, f"a negative number in the books: {parts}"
