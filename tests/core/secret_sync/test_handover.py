"""What is left for the next run is read back whole, and nothing else is taken for it."""

import json
from dataclasses import replace

import pytest

from sidecars.secret_sync.core.handover import VERSION, Handover, LeftSecret, dumped, fingerprint, loaded

LEFT = Handover(
    "f", "s.token", 1000.0, 3600.0, token_renewable=True,
    secrets={"db": LeftSecret("d", {"user": "u"}, 1000.0, ends=None, lease="l", granted=1000.0, duration=60.0)},
)  # fmt: skip


def test_what_was_left_is_read_back() -> None:
    assert loaded(dumped(LEFT)) == replace(LEFT, version=VERSION)


@pytest.mark.parametrize("cut", range(0, len(dumped(LEFT)), 7))
def test_a_torn_file_is_nothing(cut: int) -> None:
    assert loaded(dumped(LEFT)[:cut]) is None


@pytest.mark.parametrize("change", [{"version": 99}, {"token": 5}, {"secrets": []}, {"version": 0}], ids=json.dumps)
def test_a_file_of_another_shape_is_nothing(change: dict[str, object]) -> None:
    assert loaded(json.dumps(json.loads(dumped(LEFT)) | change).encode()) is None


def test_other_settings_have_another_fingerprint() -> None:
    assert fingerprint("https://a", "role") == fingerprint("https://a", "role")
    assert fingerprint("https://a", "role") != fingerprint("https://b", "role")
