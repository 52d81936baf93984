"""Settings, seen from the command line: every error at once and with its remedy, exit status 2, no secret in any of it;
and the variables that manifests of other shippers already set.
"""

from pathlib import Path
from typing import Any

import pytest

from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime import SettingsError
from sidecars.runtime.settings.load import load
from tests.support.books import arrived
from tests.support.log_stage import LogStage
from tests.support.processes import Done, sidecar

SECRET = "planted-secret-4711"
REMEDIES: dict[str, tuple[str, str]] = {
    "no paths": ("PATHS=", "paths"),
    "a relative path": ("PATHS=logs/*.log", "paths"),
    "an address without a scheme": ("ELASTICSEARCH_URL=elasticsearch:9200", "elasticsearch_url"),
    "an address without a host": ("ELASTICSEARCH_URL=http://", "elasticsearch_url"),
    "an address with a bad port": ("ELASTICSEARCH_URL=http://h:ninety", "elasticsearch_url"),
    "no address": ("OUTPUT=elasticsearch", "elasticsearch_url"),
    "an unknown output": ("OUTPUT=kafka", "output"),
    "a file without a path": ("OUTPUT=file", "output_path"),
    "upper case in the index": ("INDEX=Logs", "index"),
    "a bad data stream": ("DATA_STREAM=_logs", "data_stream"),
    "an unknown id mode": ("ID_MODE=uuid", "id_mode"),
    "an unknown format": ("PARSE=xml", "parse"),
    "a batch too small": ("BATCH_BYTES=1", "batch_bytes"),
    "a batch that is no size": ("BATCH_BYTES=a lot", "batch_bytes"),
    "a negative wait": ("BATCH_SECONDS=-1", "batch_seconds"),
    "too little in flight": ("IN_FLIGHT_BYTES=5", "in_flight_bytes"),
    "a line limit of zero": ("MAX_LINE_BYTES=0", "max_line_bytes"),
    "an unknown compression": ("COMPRESSION=zstd", "compression"),
    "a field without a value": ("FIELDS=service.name", "fields"),
    "a field of ours": ("FIELDS=message=x", "fields"),
    "an unknown lifecycle": ("LIFECYCLE=daemon", "lifecycle"),
    "a negative quiet": ("QUIET_SECONDS=-3", "quiet_seconds"),
    "a grace that is no time": ("GRACE_SECONDS=soon", "grace_seconds"),
    "a port out of range": ("ADMIN_PORT=70000", "admin_port"),
    "a password without a user": (f"PASSWORD={SECRET}", "username"),
    "a key without its certificate": ("CLIENT_KEY_FILE=/k.pem", "client_certificate_file"),
}


def run(*words: str, **variables: str) -> Done:
    """The command with these LOG_SHIPPER_ variables."""
    return sidecar(*words, settings=variables)


@pytest.mark.parametrize("name", REMEDIES)
def test_a_bad_setting_is_refused_with_its_field_and_a_remedy(name: str) -> None:
    text, field = REMEDIES[name]
    variable, _, value = text.partition("=")
    sound = {"PATHS": "/logs/*.log", "STATE_DIR": "/state"}
    if variable not in ("ELASTICSEARCH_URL", "OUTPUT"):
        sound["ELASTICSEARCH_URL"] = "http://127.0.0.1:9"
    variables = {f"LOG_SHIPPER_{key}": text for key, text in (sound | {variable: value}).items()}
    with pytest.raises(SettingsError) as caught:
        load(LogShipperSettings, "LOG_SHIPPER_", variables)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"cannot use {field}")
    assert "; " in line, "no remedy is named"
    assert SECRET not in line


def test_every_error_is_said_at_once() -> None:
    fields = ("batch_bytes", "id_mode", "compression", "lifecycle", "admin_port", "grace_seconds")
    result = run("log-shipper", **{field.upper(): "7 wrong" for field in fields}, PATHS="/logs/*.log", TYPO="1")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert sorted(line.split()[2].partition("=")[0] for line in lines) == sorted([*fields, "LOG_SHIPPER_TYPO"])


def test_errors_of_fields_together_are_said_at_once_too() -> None:
    wrong = {"PATHS": "logs/*.log", "ELASTICSEARCH_URL": "ftp://h", "DATA_STREAM": "Logs", "CLIENT_KEY_FILE": "/key"}
    with pytest.raises(SettingsError) as caught:
        load(LogShipperSettings, "LOG_SHIPPER_", {f"LOG_SHIPPER_{key}": text for key, text in wrong.items()})
    fields = {line.split()[2].rstrip(":") for line in str(caught.value).splitlines()}
    assert fields == {"paths", "elasticsearch_url", "data_stream", "client_certificate_file"}


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"paths: [/logs/*.log]\nelasticsearch_urls: http://u:{SECRET}@h\npassword: {SECRET}\n", "utf-8")
    result = run("log-shipper", CONFIG=str(file))
    assert result.returncode == 2
    assert "did you mean elasticsearch_url?" in result.stderr
    assert SECRET not in result.stderr + result.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {"PASSWORD": SECRET, "API_KEY": SECRET, "ELASTICSEARCH_URL": f"ftp://user:{SECRET}@host"},
        {"PASSWORD": SECRET, "ELASTICSEARCH_URL": f"http://user:{SECRET}@host:port"},
        {"PASWORD": SECRET, "ELASTICSEARCH_URL": f"user:{SECRET}@host"},
        {"ELASTICSEARCH_URL": f"http://user:{SECRET}@[half", "BATCH_BYTES": "x"},
    ],
)
def test_no_error_shows_a_secret(variables: dict[str, str]) -> None:
    for words in (["log-shipper"], ["check", "log-shipper"]):
        result = run(*words, PATHS="/logs/*.log", **variables)
        assert result.returncode == 2, result
        assert SECRET not in result.stderr + result.stdout


def test_check_says_what_would_be_shipped_and_starts_nothing(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("a line\n", encoding="utf-8")
    good = run("check", "log-shipper", PATHS=str(log), STATE_DIR=str(tmp_path / "state"), PASSWORD=SECRET, USERNAME="u")
    assert good.returncode == 0, good
    assert str(log) in good.stdout + good.stderr
    assert not (tmp_path / "state").exists()
    assert SECRET not in good.stdout + good.stderr


COMPATIBLE: dict[str, dict[str, str]] = {
    "an address": {"ELASTICSEARCH_URL": "http://es:9201"},
    "a host that is an address": {"ELASTICSEARCH_HOST": "http://es:9201"},
    "a host with its port": {"ELASTICSEARCH_HOST": "es:9201"},
    "a host and a port": {"ELASTICSEARCH_HOST": "es", "ELASTICSEARCH_PORT": "9201"},
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_the_address_of_other_shippers_manifests_is_honoured_unless_ours_is_there(name: str) -> None:
    variables = {"LOG_SHIPPER_PATHS": "/logs/*.log", **COMPATIBLE[name]}
    assert load(LogShipperSettings, "LOG_SHIPPER_", variables).elasticsearch_url == ("http://es:9201",)
    variables["LOG_SHIPPER_ELASTICSEARCH_URL"] = "http://ours:9200"
    assert load(LogShipperSettings, "LOG_SHIPPER_", variables).elasticsearch_url == ("http://ours:9200",)


def test_what_kubernetes_sets_for_a_service_called_elasticsearch_is_no_port() -> None:
    variables = {"ELASTICSEARCH_HOST": "es", "ELASTICSEARCH_PORT": "tcp://10.0.0.1:9200"}
    found = load(LogShipperSettings, "LOG_SHIPPER_", {"LOG_SHIPPER_PATHS": "/logs/*.log", **variables})
    assert found.elasticsearch_url == ("http://es:9200",)


def test_pod_fields_and_static_fields_are_in_every_document(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"pod_uid": "", "fields": "service.name=checkout,labels.team=blue"}
    with LogStage(tmp_path, **settings) as stage:
        stage.shipper.environment |= {
            "POD_NAME": "shop-5d4f-x2k",
            "POD_NAMESPACE": "shop",
            "POD_UID": "0e1c",
            "NODE_NAME": "node-3",
            "CONTAINER_NAME": "app",
        }
        stage.shipper.start()
        stage.write(2)
        stage.until_delivered()
        for hit in arrived(stage.backend.url):
            source = hit["_source"]
            assert source["kubernetes"] == {
                "pod": {"name": "shop-5d4f-x2k", "uid": "0e1c"},
                "namespace": "shop",
                "node": {"name": "node-3"},
                "container": {"name": "app"},
            }
            assert source["service"] == {"name": "checkout"}
            assert source["labels"] == {"team": "blue"}


def test_a_plain_index_is_written_to_when_it_is_named(tmp_path: Path) -> None:
    with LogStage(tmp_path, index="app-lines") as stage:
        stage.shipper.start()
        stage.write(20)
        stage.until_delivered()
        assert len(arrived(stage.backend.url, "app-lines")) == 20
        assert stage.backend.counters()["targets"] == {"app-lines": 20}
