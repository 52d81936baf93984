"""Which names are generations of a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecars.log_shipper.core.rotation import COMPRESSED, is_archive, is_generation

GENERATIONS = [
    ("app.log.1", "app.log"),
    ("app.log.27", "app.log"),
    ("app.log-20261122", "app.log"),
    ("app.log.2026-11-22", "app.log"),
    ("app.log.2026-11-22_13", "app.log"),
    ("app.log.2026-11-22.1", "app.log"),
    ("app.log-20261122-1795350000", "app.log"),
    ("app.log.20261122T134500Z", "app.log"),
    ("app.log20261122", "app.log"),
    ("app.log.old", "app.log"),
    ("app.log.bak", "app.log"),
    ("app-20261122.log", "app.log"),
    ("app.20261122.log", "app.log"),
    ("app20261122.log", "app.log"),
    ("app-2026-11-22T13-45-00.123.log", "app.log"),
    ("app.1.log", "app.log"),
    ("app_2.log", "app.log"),
    ("app.old.log", "app.log"),
    ("messages.1", "messages"),
    ("messages-20261122", "messages"),
    ("my.app.log.1", "my.app.log"),
    ("my.app-20261122.log", "my.app.log"),
]
OTHERS = [
    ("app.log", "app.log"),
    ("app2.log", "app.log"),
    ("app-errors.log", "app.log"),
    ("app-errors.log.1", "app.log"),
    ("app-errors-20261122.log", "app.log"),
    ("myapp.log.1", "app.log"),
    ("app.log.1.gz", "app.log"),
    ("app-20261122.log.gz", "app.log"),
    ("app.log.1.ZST", "app.log"),
    ("app.log.lock", "app.log"),
    ("app.log.tmp", "app.log"),
    ("app.log.1.tmp", "app.log"),
    ("app.log.position", "app.log"),
    ("app.logs", "app.log"),
    ("app.logbak", "app.log"),
    ("app.log2", "app.log"),
    ("app.txt", "app.log"),
    ("app", "app.log"),
    ("", "app.log"),
    (".log", "app.log"),
    ("messages2", "messages"),
    ("1.log", ".log"),
    ("app.log\n", "app.log"),
    ("app.log.1\n", "app.log"),
]


@pytest.mark.parametrize(("name", "log"), GENERATIONS)
def test_it_is_a_generation(name: str, log: str) -> None:
    assert is_generation(name, log)


@pytest.mark.parametrize(("name", "log"), OTHERS)
def test_it_is_not_a_generation(name: str, log: str) -> None:
    assert not is_generation(name, log)


@given(st.text(), st.text())
def test_any_two_names_can_be_compared(name: str, log: str) -> None:
    assert not (is_generation(name, log) and (is_archive(name) or name == log))


@pytest.mark.parametrize("ending", COMPRESSED)
def test_an_archive_is_told_by_its_ending(ending: str) -> None:
    assert is_archive(f"app.log.1{ending}")
    assert is_archive(f"APP{ending.upper()}")
    assert not is_archive(f"app{ending}.log")
