"""Settings: every error at once and with its remedy, no secret in any of it; and the variables that manifests of other
shippers already set.
"""

from pathlib import Path
from typing import Any

import pytest

from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.log_shipper.tailing.reader import shape_of
from sidecars.runtime import SettingsError
from sidecars.runtime.settings.load import load

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


def loaded(**variables: str) -> LogShipperSettings:
    """From LOG_SHIPPER_ variables."""
    return load(LogShipperSettings, "LOG_SHIPPER_", {f"LOG_SHIPPER_{name}": text for name, text in variables.items()})


def refused(**variables: str) -> list[str]:
    """The lines of the error."""
    with pytest.raises(SettingsError) as caught:
        loaded(**variables)
    assert SECRET not in str(caught.value)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", REMEDIES)
def test_a_bad_setting_is_refused_with_its_field_and_a_remedy(name: str) -> None:
    text, field = REMEDIES[name]
    variable, _, value = text.partition("=")
    sound = {"PATHS": "/logs/*.log", "STATE_DIR": "/state"}
    if variable not in ("ELASTICSEARCH_URL", "OUTPUT"):
        sound["ELASTICSEARCH_URL"] = "http://127.0.0.1:9"
    (line,) = refused(**(sound | {variable: value}))
    assert line.startswith(f"cannot use {field}")
    assert "; " in line, "no remedy is named"


def test_every_error_is_said_at_once() -> None:
    fields = ("batch_bytes", "id_mode", "compression", "lifecycle", "admin_port", "grace_seconds")
    lines = refused(**{field.upper(): "7 wrong" for field in fields}, PATHS="/logs/*.log", TYPO="1")
    assert sorted(line.split()[2].partition("=")[0] for line in lines) == sorted([*fields, "LOG_SHIPPER_TYPO"])


def test_errors_of_fields_together_are_said_at_once_too() -> None:
    lines = refused(PATHS="logs/*.log", ELASTICSEARCH_URL="ftp://h", DATA_STREAM="Logs", CLIENT_KEY_FILE="/key")
    fields = {line.split()[2].rstrip(":") for line in lines}
    assert fields == {"paths", "elasticsearch_url", "data_stream", "client_certificate_file"}


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"paths: [/logs/*.log]\nelasticsearch_urls: http://u:{SECRET}@h\npassword: {SECRET}\n", "utf-8")
    assert "did you mean elasticsearch_url?" in "".join(refused(CONFIG=str(file)))


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
    assert refused(PATHS="/logs/*.log", **variables)


URL = ("http://es:9201",)
COMPATIBLE: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "an address": ({"ELASTICSEARCH_URL": "http://es:9201"}, URL),
    "a host that is an address": ({"ELASTICSEARCH_HOST": "http://es:9201"}, URL),
    "a host with its port": ({"ELASTICSEARCH_HOST": "es:9201"}, URL),
    "a host and a port": ({"ELASTICSEARCH_HOST": "es", "ELASTICSEARCH_PORT": "9201"}, URL),
    "what Kubernetes sets for a Service called elasticsearch is no port": (
        {"ELASTICSEARCH_HOST": "es", "ELASTICSEARCH_PORT": "tcp://10.0.0.1:9200"},
        ("http://es:9200",),
    ),
}


@pytest.mark.parametrize(("given", "urls"), COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_the_address_of_other_shippers_manifests_is_honoured_unless_ours_is_there(
    given: dict[str, str], urls: tuple[str, ...]
) -> None:
    variables = {"LOG_SHIPPER_PATHS": "/logs/*.log", **given}
    assert load(LogShipperSettings, "LOG_SHIPPER_", variables).elasticsearch_url == urls
    variables["LOG_SHIPPER_ELASTICSEARCH_URL"] = "http://ours:9200"
    assert load(LogShipperSettings, "LOG_SHIPPER_", variables).elasticsearch_url == ("http://ours:9200",)


def test_fields_of_the_pod_and_static_ones_are_in_every_document_and_a_static_one_wins() -> None:
    pod = {"POD_NAME": "web-1", "POD_NAMESPACE": "shop", "POD_UID": "u-1", "NODE_NAME": "n1", "CONTAINER_NAME": "app"}

    def fields(given: str) -> dict[str, Any]:
        ours = {"LOG_SHIPPER_PATHS": "/a", "LOG_SHIPPER_FIELDS": given}
        return shape_of(load(LogShipperSettings, "LOG_SHIPPER_", {**pod, **ours})).fields

    found = fields("service.name=checkout")
    assert found == {
        "service": {"name": "checkout"},
        "kubernetes": {
            "pod": {"name": "web-1", "uid": "u-1"},
            "namespace": "shop",
            "node": {"name": "n1"},
            "container": {"name": "app"},
        },
    }
    assert fields("kubernetes.node.name=ours")["kubernetes"] == {**found["kubernetes"], "node": {"name": "ours"}}
