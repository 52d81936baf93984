"""Settings that cannot be meant are refused, each by its name."""

from typing import Any

import msgspec
import pytest

from sidecars.secret_sync.settings import SecretSyncSettings


def problems(*secrets: dict[str, Any]) -> list[str]:
    usual = {"engine": "kv2", "mount": "kv", "path": "app", "files": [{"path": "app.json"}]}
    given = {
        "vault": {"address": "https://vault:8200"},
        "auth": {"role": "app"},
        "targets": [{"path": "/secrets"}],
        "handover_file": "/secrets/.leases",
        "secrets": [usual | {"name": f"s{number}"} | secret for number, secret in enumerate(secrets)],
    }
    return [problem.field for problem in msgspec.convert(given, SecretSyncSettings).problems()]


def files(*paths: str) -> dict[str, Any]:
    return {"files": [{"path": path} for path in paths]}


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        ({"path": "a/../../sys/seal"}, "path"),
        ({"mount": ".."}, "mount"),
        ({"path": "data/app"}, "path"),
        ({"path": "/"}, "path"),
        (files("../x"), "files[0].path"),
        (files("/x"), "files[0].path"),
        (files("..data/x"), "files[0].path"),
        (files("x", "x"), "files[1].path"),
        (files("tls", "tls/key"), "files[1].path"),
        (files("tls/key", "tls"), "files[1].path"),
        (files(".leases"), "files[0].path"),
        ({"files": [{"path": "x", "mode": "9999"}]}, "files[0].mode"),
        ({"files": [{"path": "x", "target": "nowhere"}]}, "files[0].target"),
        ({"files": [{"path": "x", "format": "template"}]}, "files[0].format"),
        ({"files": []}, "files"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(secret: dict[str, Any], field: str) -> None:
    assert problems(secret) == [f"secrets[0].{field}"]


def test_what_is_usual_is_accepted() -> None:
    assert problems(files("app.json", "tls/tls.key", "tls/tls.crt"), files("tls.json")) == []
