"""No value that was read is seen in any text, however it is wrapped."""

import base64
import json
import random
import time
import urllib.parse
from collections.abc import Callable

import pytest

from sidecars.secret_sync.core.redaction import HIDDEN, Redaction

CANARY = "c4nary+Välue/9=ü\"x'"


def hidden(value: object) -> Redaction:
    redaction = Redaction()
    redaction.know("db", [value])
    return redaction


WRAPPED: dict[str, Callable[[str], str]] = {
    "plain": lambda text: f"failed with {text}!",
    "json": lambda text: json.dumps({"a": text}),
    "json, as it is": lambda text: json.dumps({"a": text}, ensure_ascii=False),
    "repr": lambda text: repr({"a": text}),
    "url": lambda text: "https://x/?q=" + urllib.parse.quote_plus(text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of a pair": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 within": lambda text: base64.b64encode(f"a{text}bc".encode()).decode(),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("value", [CANARY, {"deep": [{"er": CANARY}]}], ids=["flat", "nested"])
def test_a_value_is_hidden_however_it_is_wrapped(wrap: Callable[[str], str], value: object) -> None:
    text = wrap(CANARY)
    found = hidden(value).hide(text)
    assert HIDDEN in found
    assert CANARY not in found


def test_the_lines_of_a_key_are_hidden() -> None:
    lines = [base64.b64encode(random.Random(1).randbytes(48)).decode() for _ in range(3)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    found = hidden({"private_key": pem}).hide(f"cannot parse {lines[1]} near {pem}")
    assert not any(line in found for line in lines)


def test_short_values_leave_texts_as_they_are() -> None:
    assert hidden({"port": "5432", "flag": True, "n": 1}).hide("port 5432 is true") == "port 5432 is true"


@pytest.mark.parametrize("seed", range(200))
def test_ten_thousand_errors_show_no_canary(seed: int) -> None:
    rng = random.Random(seed)
    canaries = ["".join(rng.choices("abcXYZ0189+/=_-\"'\\ äß", k=rng.randint(12, 60))) for _ in range(5)]
    redaction = Redaction()
    redaction.know("db", [{"a": canaries[:2], "b": {"c": canaries[2:]}}])
    for _ in range(50):
        canary = rng.choice(canaries)
        wrap = rng.choice(list(WRAPPED.values()))
        found = redaction.hide("x" * rng.randint(0, 5) + wrap(canary) + "y" * rng.randint(0, 5))
        for form in WRAPPED.values():
            middle = form(canary)[14:-6]
            assert len(middle) < 6 or middle not in found


def test_a_value_that_was_cut_is_hidden_as_far_as_it_goes() -> None:
    value = "".join(random.Random(2).choices("abcdefghijklmnop0123456789", k=40))
    for wrap in (str, lambda text: base64.b64encode(text.encode()).decode()):
        whole = wrap(value)
        for cut in range(16, len(whole) - 4):
            assert hidden(value).hide(f"said: {whole[:cut]}") == f"said: {HIDDEN}"


def test_what_lives_is_hidden_however_often_others_change_and_a_former_value_for_a_while() -> None:
    redaction = hidden("the value that stays")
    for number in range(1000):
        redaction.know("tls", [f"rotated-{number:06}-value"])
    assert "stays" not in redaction.hide("the value that stays")
    assert redaction.hide("rotated-000998-value rotated-000999-value") == f"{HIDDEN} {HIDDEN}"


def test_hiding_costs_little_with_many_large_values() -> None:
    redaction, rng = Redaction(), random.Random(3)
    for number in range(20):
        for _ in range(3):
            lines = [base64.b64encode(rng.randbytes(48)).decode() for _ in range(25)]
            redaction.know(f"tls-{number}", [{"private_key": "\n".join(lines)}])
    began = time.perf_counter()
    redaction.hide("a usual line of a log, with nothing in it " * 10)
    assert time.perf_counter() - began < 0.05
