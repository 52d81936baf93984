"""The placeholders of a change."""

import pytest

from sidecars.kit.notify.core.change import Change


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{hash}", "0a1b"),
        ("-c={candidate}/app.conf#{hash}", "-c=/content/..data/app.conf#0a1b"),
        ('{"hash": "{hash}", "x": {}}', '{"hash": "0a1b", "x": {}}'),
        ("{ hash } {other} {{hash}}", "{ hash } {other} {0a1b}"),
    ],
)
def test_only_the_placeholders_are_filled_and_other_braces_stay(text: str, filled: str) -> None:
    assert Change("0a1b", "/content/..data").fill(text) == filled
