"""Why nothing is delivered, in words that lead to the remedy."""

import re

import msgspec

from .bulk import HELD_REASONS, RETRY_REASONS, Refusal, without_content

TROUBLE_REASONS = tuple(reason for reason in RETRY_REASONS if reason != "dead_letter")
"""Why nothing goes through; the closed list of the metric's label."""


class Trouble(msgspec.Struct, frozen=True):
    """One reason why sending does not work: `reason` is one of bulk.RETRY_REASONS, `what` is for people: what happened,
    and the remedy. Troubles with the same `kind` are the same one, told in other words perhaps.
    """

    reason: str
    what: str
    kind: str

    @property
    def text(self) -> str:
        """What is said while it lasts."""
        return f"{self.what} Nothing is lost meanwhile."

    @property
    def held(self) -> bool:
        """Whether a person has to act."""
        return self.reason in HELD_REASONS


def refused(reason: str, refusal: Refusal, url: str) -> Trouble:
    """What the server said of a request, or of all its records."""
    named = "" if refusal.type == "unknown" else f" {refusal.type}"
    said = without_content(refusal.reason)
    what = f"{url + ' answered ' if url else ''}HTTP {refusal.status}{named}{': ' + said if said else ''}"
    return _trouble(reason, what, f"{refusal.status} {refusal.type}", _remedy(reason, f"{refusal.type}: {said}"))


def failed(reason: str, detail: str) -> Trouble:
    """No answer, or none that can be used."""
    return _trouble(reason, detail, "", _remedy(reason, detail))


def _trouble(reason: str, what: str, kind: str, remedy: str) -> Trouble:
    return Trouble(reason, f"cannot deliver: {what.rstrip('. ')}. {remedy}", f"{reason} {kind}")


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
    "credentials": "Check that the file exists and can be read.",
    "redirect": "Set elasticsearch_url to where Elasticsearch itself is; redirects are not followed.",
    "status_429": "It has more to do than it can. It is tried again.",
    "status_4xx": "Check elasticsearch_url, and that the target exists (--setup makes the data stream's template).",
    "target": "Mend the target (`index` or `data_stream`).",
    "tls": "Check ca_file, and the host name in elasticsearch_url.",
    "output": "Make room, or correct the path.",
    "unclear": "Every record is refused, none is stored: so it is taken for trouble of the target, and all are kept.",
    "unknown": "Check that elasticsearch_url leads to Elasticsearch.",
}
