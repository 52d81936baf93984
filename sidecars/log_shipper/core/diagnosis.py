"""Why nothing is delivered: the diagnosis, in words that lead to the remedy."""

import re
from http import HTTPStatus

import msgspec

from .bulk import (
    HELD_REASONS,
    RETRY_REASONS,
    Advice,
    Answer,
    Judgement,
    Refusal,
    advice,
    reason_of,
    what_it_is,
    whole_refusal,
    without_content,
)

TROUBLE_REASONS = tuple(reason for reason in RETRY_REASONS if reason != "dead_letter")
"""Why nothing goes through; the closed list of the label of the metric `delivery_trouble`."""


class Diagnosis(msgspec.Struct, frozen=True):
    """One reason why nothing is delivered: `reason` is one of bulk.RETRY_REASONS, `what` is for people: what happened,
    and the remedy. Two with the same `kind` are the same one, perhaps in other words.
    """

    reason: str
    what: str
    kind: str

    @property
    def text(self) -> str:
        """Return what is said while it lasts."""
        return f"{self.what} Nothing is lost meanwhile."

    @property
    def held(self) -> bool:
        """Return whether a person has to act."""
        return self.reason in HELD_REASONS


def of_refusal(reason: str, refusal: Refusal, url: str) -> Diagnosis:
    """Diagnose what the server said of a request, or of all its records."""
    named = "" if refusal.type == "unknown" else f" {refusal.type}"
    said = without_content(refusal.reason)
    what = f"{url + ' answered ' if url else ''}HTTP {refusal.status}{named}{': ' + said if said else ''}"
    return _diagnosis(reason, what, f"{refusal.status} {refusal.type}", _remedy(reason, f"{refusal.type}: {said}"))


def of_failure(reason: str, detail: str) -> Diagnosis:
    """Diagnose that there is no answer, or none that can be used."""
    return _diagnosis(reason, detail, "", _remedy(reason, detail))


def of_request(answer: Answer, records: int) -> Diagnosis:
    """Diagnose why a request of so many records came to nothing as a whole."""
    if not answer.status:
        return of_failure(answer.reason, answer.detail)
    if advice(answer) is Advice.JUDGE:
        return of_failure("unknown", f"{answer.url} answered with {what_it_is(answer, records)}")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        leads_to = answer.location or "an address that it does not name"
        return of_failure("redirect", f"{answer.url} answered HTTP {answer.status}, a redirect to {leads_to}")
    refusal = whole_refusal(answer)
    return of_refusal(reason_of(refusal), refusal, answer.url)


def of_records(judgement: Judgement) -> Diagnosis:
    """Diagnose why no record of a request was taken."""
    if judgement.cause is None:
        return of_failure("unknown", f"{judgement.url} answered without a result for each record")
    return of_refusal(judgement.cause_reason, judgement.cause, judgement.url)


def _diagnosis(reason: str, what: str, kind: str, remedy: str) -> Diagnosis:
    return Diagnosis(reason, f"cannot deliver: {what.rstrip('. ')}. {remedy}", f"{reason} {kind}")


def _remedy(reason: str, said: str) -> str:
    for pattern, remedy in _BY_WORDS:
        if pattern.search(said):
            return remedy
    return _REMEDIES.get(reason, "It is tried again.")


_BY_WORDS = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        ("this port speaks http and", "Let elasticsearch_url begin with http://, or name the port that speaks https."),
        ("this port speaks https and", "Let elasticsearch_url begin with https://."),
        ("flood-stage", "Make room on the disks of Elasticsearch: it lifts the block by itself then."),
        (
            "^cluster_block_exception",
            "Lift the block (settings index.blocks.*, cluster.blocks.*) when it is not wanted any more.",
        ),
        ("^index_closed_exception", "Open the index: POST /INDEX/_open."),
        ("no write index", "Give the alias a write index (is_write_index), or ship into a data stream."),
        (
            "pipeline with id",
            "Create that ingest pipeline, or take it out of index.default_pipeline and index.final_pipeline.",
        ),
        (r"maximum (\S+ )?shards", "Remove indices that are not needed, or raise cluster.max_shards_per_node."),
        (
            "^index_not_found_exception",
            "Create it (--setup makes the data stream's template), or allow action.auto_create_index.",
        ),
        ("^invalid_index_name", "Correct `index` or `data_stream`."),
        ("_id must be unset", "Set id_mode to auto, or ship into another index: this one makes ids itself."),
        ("^strict_dynamic_mapping", "Add the fields to the mapping of the index, or ship into another one."),
        (
            "breaks off|garbled|cut off",
            "Something between here and Elasticsearch spoils its replies. It is tried again.",
        ),
    )
)
_REMEDIES = {
    "forbidden": "Check the credentials (api_key_file, or username and password_file) and their privileges.",
    "credentials": "It is read again before each request.",
    "redirect": "Set elasticsearch_url to where Elasticsearch itself is; redirects are not followed.",
    "status_429": "It has more to do than it can. It is tried again.",
    "status_4xx": "Check elasticsearch_url, and that the target exists (--setup makes the data stream's template).",
    "target": "Mend the target (`index` or `data_stream`).",
    "tls": "Check ca_file, and the host name in elasticsearch_url.",
    "output": "Make room, or correct the path.",
    "unclear": "Every record is refused, none is stored: so it is taken for trouble of the target, and all are kept.",
    "unknown": "Check that elasticsearch_url leads to Elasticsearch.",
}
