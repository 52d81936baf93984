"""The variables of the app in the sidecar's container: a shared `envFrom` must change nothing for us, and everything
that we start gets them as they were given.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from sidecars.declaration import names
from sidecars.runtime.settings.environment import IGNORED
from tests.runtime.conftest import Start
from tests.support.books import samples
from tests.support.processes import ROOT, sidecar
from tests.support.sidecars import ReloaderProcess

OTEL = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-common", "protobuf")
NAME = """["']([A-Za-z_]+)["']"""
READ = re.compile(rf"os\.(?:environ(?:\.get\(|\[)|getenv\()\s*{NAME}|{NAME} in os\.environ")
# In a docstring of aiohttp; by a client of hvac that nobody makes; by cffi where it compiles, which nobody does.
UNUSED = {"FOO", "VAULT_ADDR", "VAULT_TOKEN", "CFFI_TMPDIR"}


def read_by(library: str) -> Iterator[str]:
    """The variables that a library reads by their literal names."""
    for file in metadata.files(library) or []:
        if file.suffix == ".py" and "django" not in file.parts:
            text = Path(str(file.locate())).read_text(encoding="utf-8")
            yield from (first or second for first, second in READ.findall(text))


def test_every_variable_that_a_library_reads_by_its_name_is_ignored() -> None:
    texts = [(ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in names()]
    locked = {name for text in texts for name in re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)}
    found = {name for library in {*locked, *OTEL} for name in read_by(library)}
    assert "PROMETHEUS_MULTIPROC_DIR" in found
    assert found - IGNORED.keys() == UNUSED


@pytest.fixture
def reloader(tmp_path: Path) -> Iterator[ReloaderProcess]:
    (tmp_path / "watched").mkdir()
    process = ReloaderProcess(tmp_path, {"watch": tmp_path / "watched", "initial": "always"})
    yield process
    process.kill()


def test_the_apps_variables_do_not_reach_our_libraries_and_reach_our_commands(
    tmp_path: Path, reloader: ReloaderProcess
) -> None:
    (tmp_path / "multiproc").mkdir()
    theirs = dict.fromkeys(IGNORED, "/app/nonsense") | {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "multiproc"),
        "SSLKEYLOGFILE": str(tmp_path / "keys"),
        "APP_TOKEN": "secret\n",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1\n",
        "READTHEDOCS": "true",
    }
    seen = tmp_path / "seen"
    program = f"import json, os; open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))"
    reloader.environment = theirs
    reloader.steps({"exec": {"command": [sys.executable, "-c", program]}}).start()
    reloader.until(seen.exists, "the command")
    reloader.until_settled()
    assert samples(reloader.ask("/metrics")[1])
    assert reloader.terminate() == 0
    assert json.loads(seen.read_text(encoding="utf-8")).items() >= theirs.items()
    assert os.listdir(tmp_path / "multiproc") == []
    assert not (tmp_path / "keys").exists()
    assert reloader.logged("environment.ignored")[0]["names"] == sorted(IGNORED)
    assert "Traceback" not in reloader.stderr


def test_what_wait_for_becomes_gets_every_variable_as_it_was_given(tmp_path: Path) -> None:
    theirs = {**dict.fromkeys(IGNORED, "/app/nonsense"), "APP_TOKEN": "secret\n"}
    done = sidecar("wait-for", f"file://{tmp_path}", "--", "/usr/bin/env", "-0", variables=theirs)
    assert dict(line.split("=", 1) for line in done.stdout.split("\0") if line).items() >= theirs.items()


@pytest.mark.parametrize(
    ("name", "text"),
    [("OTEL_BSP_SCHEDULE_DELAY", "-5"), ("OTEL_TRACES_SAMPLER", "theirs")],
)
def test_traces_that_cannot_be_set_up_are_a_warning(start: Start, name: str, text: str) -> None:
    run = start("idle", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: text}).started()
    assert [line["level"] for line in run.logs if line["level"] != "info"] == ["warning"]
    assert run.stop() == 0
