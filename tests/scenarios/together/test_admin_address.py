"""One process has one admin endpoint: where the sidecar says that is named first. Who wants it elsewhere is refused."""

import pytest

from sidecars.__main__ import find
from sidecars.runtime import Basics, SettingsError
from sidecars.runtime.command.flags import CommandLine
from sidecars.runtime.life.run import read_settings
from tests.scenarios.together.pair import NAMES

SHIPPER, RELOADER = "LOG_SHIPPER_ADMIN_", "CONFIG_RELOADER_ADMIN_"


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which both have what they need."""
    for name, text in (("PATHS", "/logs/*.log"), ("STATE_DIR", "/state")):
        monkeypatch.setenv(f"LOG_SHIPPER_{name}", text)
    for name, text in (("WATCH", "/config"), ("WEBHOOK_URL", "http://127.0.0.1:9/reload")):
        monkeypatch.setenv(f"CONFIG_RELOADER_{name}", text)
    return monkeypatch


def read(*names: str) -> list[Basics]:
    return read_settings([find(name) for name in names or NAMES], CommandLine())


@pytest.mark.parametrize(
    "given",
    [
        {},
        {SHIPPER + "PORT": "8000"},
        {SHIPPER + "PORT": "8000", RELOADER + "PORT": "8000"},
        {SHIPPER + "HOST": "127.0.0.1", RELOADER + "HOST": "127.0.0.1"},
        {"CONFIG_RELOADER_LISTEN_ADDRESS": ":9101"},
        {RELOADER + "PORT": "tcp://10.0.0.1:80"},  # of a Service called config-reloader-admin, by Kubernetes
    ],
)
def test_no_contradiction_is_no_problem(usable: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    for name, text in given.items():
        usable.setenv(name, text)
    assert len(read()) == 2


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({RELOADER + "PORT": "8000"}, "config-reloader/admin_port=8000"),
        ({SHIPPER + "PORT": "8000", RELOADER + "PORT": "8001"}, "config-reloader/admin_port=8001"),
        ({RELOADER + "PORT": "9102"}, "config-reloader/admin_port=9102"),  # its default, but it was asked for
        ({RELOADER + "HOST": "127.0.0.1"}, "config-reloader/admin_host=127.0.0.1"),
        ({SHIPPER + "HOST": "127.0.0.1", RELOADER + "HOST": "0.0.0.0"}, "config-reloader/admin_host=0.0.0.0"),
        ({"CONFIG_RELOADER_LISTEN_ADDRESS": ":9533"}, "config-reloader/admin_port=9533"),
    ],
)
def test_another_address_is_refused_with_the_remedy(
    usable: pytest.MonkeyPatch, given: dict[str, str], problem: str
) -> None:
    for name, text in given.items():
        usable.setenv(name, text)
    with pytest.raises(SettingsError) as refused:
        read()
    name = problem.partition("=")[0].partition("/")[2]
    taken = given.get(f"LOG_SHIPPER_{name.upper()}", {"admin_port": "9101", "admin_host": "::"}[name])
    assert str(refused.value) == (
        f"cannot use {problem}: the process has one admin endpoint, that of log-shipper, named first, and its {name} "
        f"is {taken}; leave it out, or set LOG_SHIPPER_{name.upper()} to it"
    )


def test_in_the_other_order_it_is_the_other_one_that_decides(usable: pytest.MonkeyPatch) -> None:
    usable.setenv(RELOADER + "PORT", "8000")
    assert len(read(*reversed(NAMES))) == 2
    usable.setenv(SHIPPER + "PORT", "8001")
    with pytest.raises(SettingsError, match=r"cannot use log-shipper/admin_port=8001: .* its admin_port is 8000;"):
        read(*reversed(NAMES))
