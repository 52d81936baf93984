"""Settings that cannot be meant are refused, each by its name."""

from typing import Any

import msgspec
import pytest

from sidecars.secret_sync.settings import SecretSyncSettings


def problems(*secrets: dict[str, Any], **more: Any) -> list[str]:
    usual = {"engine": "kv2", "mount": "kv", "path": "app", "files": [{"path": "app.json"}]}
    given = {
        "vault": {"address": "https://vault:8200"},
        "auth": {"role": "app"},
        "targets": [{"path": "/secrets"}],
        "handover_file": "/secrets/.leases",
        "secrets": [usual | {"name": f"s{number}"} | secret for number, secret in enumerate(secrets)],
    }
    return [problem.field for problem in msgspec.convert(given | more, SecretSyncSettings).problems()]


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
        ({"files": [{"path": "x", "mode": "0000"}]}, "files[0].mode"),
        (files("a\nb"), "files[0].path"),
        ({"files": [{"path": "x", "target": "nowhere"}]}, "files[0].target"),
        ({"files": [{"path": "x", "format": "template"}]}, "files[0].format"),
        ({"files": [{"path": "x", "passphrase_file": "/p"}]}, "files[0].passphrase_file"),
        ({"files": [{"path": "x", "format": "pkcs12", "passphrase_from": "other#a"}]}, "files[0].passphrase_from"),
        ({"files": []}, "files"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(secret: dict[str, Any], field: str) -> None:
    assert problems(secret) == [f"secrets[0].{field}"]


def test_what_is_usual_is_accepted() -> None:
    assert problems(files("app.json", "tls/tls.key", "tls/tls.crt"), files("tls.json")) == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"vault_address": "https://other:8200"}, "vault_address"),
        ({"kubernetes_role": "other"}, "kubernetes_role"),
        ({"target": "/other"}, "target"),
        ({"vault": {}}, "vault.address"),
        ({"vault": {"address": "vault:8200"}}, "vault.address"),
        ({"vault": {"address": "https://v", "client_key_file": "/k"}}, "vault.client_key_file"),
        ({"targets": [{"path": "/secrets"}, {"path": "/secrets/"}]}, "targets[1].path"),
        ({"targets": [{"path": "/secrets"}, {"path": "/secrets/tls"}]}, "targets[1].path"),
        ({"notify": [{"signal": {"signal": "SIGNONE", "process": "app"}}]}, "notify[0].signal.signal"),
        ({"notify": [{"webhook": {"url": "app:80"}}]}, "notify[0].webhook.url"),
        ({"notify": [{"exec": {"command": []}}]}, "notify[0].exec.command"),
        ({"notify": [{}]}, "notify[0]"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_named(more: dict[str, Any], field: str) -> None:
    assert problems({}, **more) == [field]


def objects(key_vault: Any, *secrets: dict[str, Any], **more: Any) -> SecretSyncSettings:
    given = {"key_vault": key_vault, "targets": [{"path": "/secrets"}]}
    named = [{"name": f"s{number}", "path": "db"} | files(f"f{number}") | one for number, one in enumerate(secrets)]
    return msgspec.convert(given | {"secrets": named} | more, SecretSyncSettings)


ADDRESS = "https://shop.vault.azure.net"


@pytest.mark.parametrize(
    ("key_vault", "secret", "more", "field"),
    [
        ({}, {}, {}, "key_vault.address"),
        ({"address": "http://shop.vault.azure.net"}, {}, {}, "key_vault.address"),
        ({"address": f"{ADDRESS}/secrets/db"}, {}, {}, "key_vault.address"),
        ({"address": "https://a@shop.vault.azure.net"}, {}, {}, "key_vault.address"),
        ({"address": ADDRESS, "authority_host": "http://login.x"}, {}, {}, "key_vault.authority_host"),
        ({"address": ADDRESS, "resource": "vault.azure.net"}, {}, {}, "key_vault.resource"),
        (None, {}, {"key_vault_address": "shop"}, "key_vault_address"),
        ({"address": ADDRESS}, {"engine": "kv2"}, {}, "secrets[0].engine"),
        ({"address": ADDRESS}, {"path": "a/b"}, {}, "secrets[0].path"),
        ({"address": ADDRESS}, {"path": "a_b"}, {}, "secrets[0].path"),
        ({"address": ADDRESS}, {"object_version": "latest!"}, {}, "secrets[0].object_version"),
        ({"address": ADDRESS}, {"version": 3}, {}, "secrets[0].version"),
        ({"address": ADDRESS}, {"mount": "kv"}, {}, "secrets[0].mount"),
        ({"address": ADDRESS}, {}, {"vault": {"address": "https://vault:8200"}}, "vault"),
        ({"address": ADDRESS}, {}, {"auth": {"role": "app"}}, "auth"),
        ({"address": ADDRESS}, {}, {"key_vault_address": ADDRESS}, "key_vault_address"),
    ],
    ids=str,
)
def test_what_key_vault_cannot_mean_is_refused(
    key_vault: Any, secret: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    assert [problem.field for problem in objects(key_vault, secret, **more).problems()] == [field]


def test_what_is_of_key_vault_is_refused_with_vault() -> None:
    assert problems({"object_version": "a1"}) == ["secrets[0].object_version"]
    assert problems({"engine": "certificate"}) == ["secrets[0].engine"]


@pytest.mark.parametrize(
    ("text", "engine", "path", "version", "file", "form"),
    [
        ("db-password", "secret", "db-password", "", "db-password", "raw"),
        ("secrets/db-password/a1", "secret", "db-password", "a1", "db-password", "raw"),
        ("db-password#value", "secret", "db-password", "", "value", "raw"),
        ("certificates/web", "certificate", "web", "", "web.pem", "pem-bundle"),
        ("certificates/web#private_key", "certificate", "web", "", "private_key", "raw"),
    ],
)
def test_the_simple_form_names_objects(text: str, engine: str, path: str, version: str, file: str, form: str) -> None:
    settings = objects({"address": ADDRESS}, secret=(text,))
    assert list(settings.problems()) == []
    [one] = settings.all_secrets
    assert (one.name, one.engine, one.path, one.object_version) == (path, engine, path, version)
    assert [(written.path, written.format) for written in one.files] == [(file, form)]


def test_the_simple_form_knows_no_other_kind_of_object() -> None:
    settings = objects({"address": ADDRESS}, secret=("keys/signing",))
    assert "secret[0].path" in [problem.field for problem in settings.problems()]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("kv/data/app#user", "kv/data/app#password", "db/creds/app"), {"kv-data-app": 2, "db-creds-app": 1}),
        (("kv/data/app", "kv/data/app#user"), {"kv-data-app": 2}),
    ],
)
def test_several_keys_of_one_path_are_one_secret(given: tuple[str, ...], found: dict[str, int]) -> None:
    settings = SecretSyncSettings(
        vault_address="https://vault:8200", kubernetes_role="app", target="/secrets", secret=given
    )
    assert list(settings.problems()) == []
    assert {one.name: len(one.files) for one in settings.all_secrets} == found


def test_a_secret_and_a_certificate_of_one_name_are_two() -> None:
    settings = objects(
        {"address": ADDRESS}, secret=("web", "certificates/web#certificate", "certificates/web#private_key")
    )
    assert list(settings.problems()) == []
    assert [(one.name, len(one.files)) for one in settings.all_secrets] == [("web", 1), ("web-certificate", 2)]
