"""What is said when nothing is delivered: the address, the server's own words, and the remedy for them."""

import pytest

from sidecars.log_shipper.core.bulk import RETRY_REASONS, Refusal
from sidecars.log_shipper.core.diagnosis import TROUBLE_REASONS, of_failure, of_refusal

URL = "http://es:9200/logs/_bulk"
TOLD = [
    ("blocked", Refusal(429, "cluster_block_exception", "index [x] blocked by: [.. flood-stage ..];"), "Make room"),
    ("blocked", Refusal(403, "cluster_block_exception", "index [x] blocked by: [.. write (api)];"), "Lift the block"),
    ("forbidden", Refusal(403, "security_exception", "action [x] is unauthorized"), "Check the credentials"),
    ("target", Refusal(400, "index_closed_exception", "closed"), "Open the index"),
    ("target", Refusal(400, "illegal_argument_exception", "no write index is defined for alias [x]"), "is_write_index"),
    ("target", Refusal(400, "illegal_argument_exception", "pipeline with id [x] does not exist"), "ingest pipeline"),
    ("target", Refusal(400, "validation_exception", "[12]/[1] maximum normal shards open"), "max_shards_per_node"),
    ("target", Refusal(404, "index_not_found_exception", "no such index [x]"), "--setup"),
    ("status_4xx", Refusal(404, "unknown", ""), "elasticsearch_url"),
    ("status_429", Refusal(429, "es_rejected_execution_exception", "rejected"), "tried again"),
    ("status_5xx", Refusal(503, "unknown", "no healthy upstream"), "tried again"),
]


@pytest.mark.parametrize(("reason", "refusal", "remedy"), TOLD)
def test_a_refusal_is_told_with_address_words_and_remedy(reason: str, refusal: Refusal, remedy: str) -> None:
    text = of_refusal(reason, refusal, URL).text
    assert all(word in text for word in (URL, str(refusal.status), refusal.reason, remedy)), text
    assert ("unknown" in text) is False


@pytest.mark.parametrize("reason", RETRY_REASONS)
def test_every_reason_has_a_remedy_or_is_tried_again(reason: str) -> None:
    text = of_failure(reason, "it broke.").text
    assert text.startswith("cannot deliver: it broke. ")
    assert text.endswith(" Nothing is lost meanwhile.")


def test_the_same_diagnosis_in_other_words_is_of_one_kind_and_another_type_is_not() -> None:
    closed = [of_refusal("target", Refusal(400, "index_closed_exception", words), URL).kind for words in ("a", "b")]
    missing = of_refusal("target", Refusal(404, "index_not_found_exception", "a"), URL).kind
    assert closed[0] == closed[1] != missing


def test_dead_letters_do_not_keep_others_from_going_through() -> None:
    assert set(RETRY_REASONS) - set(TROUBLE_REASONS) == {"dead_letter"}
