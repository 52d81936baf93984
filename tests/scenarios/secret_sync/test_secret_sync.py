"""Secret-sync as a process against a Vault: files, leases, faults, rotation of what it logs in with, and the stop."""

import json
import os
import ssl
import stat
import time
from pathlib import Path

import pytest

from sidecars.devstack.vault.faults import Fault
from sidecars.devstack.vault.server import Vault
from tests.scenarios.secret_sync.conftest import SecretSyncProcess, Stage
from tests.support.waiting import until

READ = 'path "kv/data/*" { capabilities = ["read"] }\npath "database/creds/app" { capabilities = ["read"] }\n'
READ += 'path "pki/issue/web" { capabilities = ["update"] }\npath "sys/leases/revoke" { capabilities = ["update"] }\n'
KV = {
    "name": "app",
    "engine": "kv2",
    "mount": "kv",
    "path": "app",
    "poll_seconds": 1,
    "files": [{"path": "app.json"}, {"path": "password", "format": "raw", "key": "password"}],
}
DATABASE = {"name": "db", "engine": "dynamic", "path": "database/creds/app", "files": [{"path": "db.json"}]}
TLS = {
    "name": "tls",
    "engine": "pki",
    "mount": "pki",
    "role": "web",
    "parameters": {"common_name": "web.svc"},
    "files": [
        {"path": "tls.crt", "format": "raw", "key": "certificate"},
        {"path": "tls.key", "format": "raw", "key": "private_key"},
        {"path": "bundle.pem", "format": "pem-bundle"},
    ],
}


def user(stage: Stage) -> str:
    """The database user on the volume."""
    text = stage.read("db.json")
    return str(json.loads(text)["username"]) if text else ""


def test_secrets_are_written_and_changes_follow(stage: Stage) -> None:
    sync = stage.kv().approle(READ).secret(**KV).process().start()
    assert json.loads(stage.read("app.json")) == {"user": "bob", "password": "first-value"}
    assert stage.read("password") == "first-value"
    mode = stat.S_IMODE(os.stat(stage.volume / "password").st_mode)
    assert mode == 0o400
    stage.root.set("kv/data/app", {"data": {"user": "bob", "password": "second-value"}})
    until(lambda: stage.read("password") == "second-value", "the new password")
    assert sync.terminate() == 0
    assert "first-value" not in sync.stderr


def test_all_files_of_an_issue_fit_each_other(stage: Stage) -> None:
    secret = TLS | {"parameters": {"common_name": "web.svc", "ttl": "3s"}}
    stage.pki().approle(READ).secret(**secret).process().start()
    seen = set()
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        folder = os.path.realpath(stage.volume / "..data")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
        context.load_cert_chain(f"{folder}/bundle.pem")
        seen.add(Path(f"{folder}/tls.crt").read_text())
    assert len(seen) >= 2


def test_a_lease_is_renewed_and_not_issued_again(stage: Stage) -> None:
    stage.database(default_ttl="3s").approle(READ).secret(**DATABASE).process().start()
    first = user(stage)
    until(lambda: stage.asked("sys/leases/renew") >= 2, "two renewals")
    assert user(stage) == first
    assert stage.vault.state()["issued_leases"] == 1


@pytest.mark.parametrize("status", [400, 500])
def test_a_renewal_that_fails_issues_nothing_before_the_window(stage: Stage, status: int) -> None:
    stage.database(default_ttl="10s").approle(READ).secret(**DATABASE).process().start()
    stage.vault.set_faults(Fault("status", match="sys/leases/renew", status=status))
    until(lambda: stage.asked("sys/leases/renew") >= 1, "a renewal that fails")
    assert stage.vault.state()["issued_leases"] == 1
    first = user(stage)
    until(lambda: user(stage) != first, "its replacement")
    assert stage.vault.state()["issued_leases"] == 2
    assert first in stage.vault.state()["users"]


def test_a_revoked_token_is_one_lookup_one_login_and_new_values(stage: Stage) -> None:
    stage.database().kv().approle(READ).secret(**DATABASE).secret(**KV).process().start()
    first = user(stage)
    stage.forget()
    stage.vault.ask(revoke_tokens)
    until(lambda: user(stage) not in ("", first), "a new user", within_seconds=10)
    assert stage.asked("auth/token/lookup-self") == 1
    assert stage.asked("auth/approle/login") == 1
    assert user(stage) in stage.vault.state()["users"]


def revoke_tokens(server: Vault) -> None:
    """Revoke every token but root's."""
    for token in [token for token in server.backend.registry.tokens.values() if token.expires is not None]:
        server.backend.registry.revoke_token(token)


def test_a_token_at_its_maximum_is_replaced_without_a_gap(stage: Stage) -> None:
    stage.database().approle(READ, ttl="5s", max_ttl="10s").secret(**DATABASE).process().start()
    seen: set[str] = set()
    deadline = time.monotonic() + 22
    while time.monotonic() < deadline:
        here = user(stage)
        assert here in stage.vault.state()["users"] or user(stage) != here
        seen.add(here)
        time.sleep(0.01)
    assert len(seen) >= 2


def test_from_once_to_the_sidecar_and_over_a_kill_one_credential_is_issued(stage: Stage) -> None:
    stage.database().pki().approle(READ).secret(**DATABASE).secret(**TLS)
    settings = {"handover_file": str(stage.volume / ".leases")}
    once = stage.process(**settings)
    once.flags = ("--once",)
    once.start(wait=False)
    assert once.wait() == 0
    first, certificate = user(stage), stage.read("tls.crt")
    sync = stage.process(**settings).start()
    for _ in range(3):
        sync.kill()
        sync.wait()
        sync.start()
    assert (user(stage), stage.read("tls.crt")) == (first, certificate)
    assert stage.vault.state()["issued_leases"] == 1
    assert stage.asked("database/creds/app") == 1
    assert stage.asked("auth/approle/login") == 1


def test_once_ends_late_or_refused_with_a_status_of_its_own(stage: Stage) -> None:
    stage.kv().approle(READ).secret(**KV)
    stage.vault.down()
    late = stage.process(start_deadline_seconds=3)
    late.flags = ("--once",)
    late.start(wait=False)
    assert late.wait() == 3
    stage.vault.up()
    (stage.folder / "secret-id").write_text("11111111-1111-4111-8111-111111111111")
    refused = stage.process(start_deadline_seconds=3)
    refused.flags = ("--once",)
    refused.start(wait=False)
    assert refused.wait() == 4
    assert stage.asked("auth/approle/login") == 1


def test_once_without_success_and_hand_over_leaves_no_token_behind(stage: Stage) -> None:
    stage.database().approle(READ).secret(**DATABASE).secret(**KV)
    once = stage.process(start_deadline_seconds=2)
    once.flags = ("--once",)
    once.start(wait=False)
    assert once.wait() == 4
    assert stage.vault.state()["users"] == {}


def test_a_refused_login_is_tried_again_when_its_file_changes(stage: Stage) -> None:
    stage.kv().approle(READ).secret(**KV)
    (stage.folder / "secret-id").write_text("11111111-1111-4111-8111-111111111111")
    sync = stage.process().start(wait=False)
    until(lambda: stage.asked("auth/approle/login") == 1, "the login")
    assert sync.ask("/readyz")[0] == 503
    stage.new_secret_id()
    until(lambda: stage.read("password"), "the secret")
    assert stage.asked("auth/approle/login") == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("hang", match="kv/data"),
        Fault("status", match="kv/data", status=503),
        Fault("status", match="kv/data", status=429, retry_after="1"),
        Fault("garbage", match="kv/data"),
        Fault("cut", match="kv/data"),
        Fault("redirect", match="kv/data", location="http://127.0.0.1:9/v1/kv/data/app"),
        Fault("status", match="kv/data", status=403, errors=("permission denied",)),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_what_was_written_stays_while_reads_fail(stage: Stage, fault: Fault) -> None:
    sync = stage.kv().approle(READ).secret(**KV).process().start()
    stage.vault.set_faults(fault)
    stage.forget()
    until(lambda: sync.status()["secrets"]["app"]["fault"], "the fault to be seen")
    assert stage.read("password") == "first-value"
    assert sync.ask("/readyz")[0] == 200
    stage.vault.set_faults()
    stage.root.set("kv/data/app", {"data": {"password": "after the fault"}})
    assert sync.ask("/refresh", "POST")[0] == 200
    until(lambda: stage.read("password") == "after the fault", "the new value", within_seconds=20)


def test_a_deleted_version_leaves_the_last_good_one(stage: Stage) -> None:
    sync = stage.kv().approle(READ).secret(**KV).process().start()
    stage.root.call("DELETE", "kv/data/app")
    until(lambda: sync.status()["secrets"]["app"]["fault"], "the deletion to be seen")
    assert sync.status()["secrets"]["app"]["fault"]["reason"] == "deleted"
    assert stage.read("password") == "first-value"


def test_one_broken_template_keeps_to_itself(stage: Stage) -> None:
    broken = {"path": "broken", "format": "template", "template": "{{ nothing.here }}"}
    good = {"path": "dsn", "format": "template", "template": "{{ secrets.app.user }}:{{ password }}"}
    other = KV | {"name": "other", "required": False, "files": [broken]}
    sync = stage.kv().approle(READ).secret(**KV | {"files": [good]}).secret(**other).process().start()
    assert stage.read("dsn") == "bob:first-value"
    assert stage.read("broken") == ""
    assert "other" in sync.ask("/readyz")[1]


def test_the_app_is_notified_once_for_each_generation_after_the_first(stage: Stage) -> None:
    told = stage.folder / "told"
    notify = [{"exec": {"command": ["sh", "-c", f"cat {stage.volume}/password >> {told}; echo >> {told}"]}}]
    stage.kv().approle(READ).secret(**KV).process(notify=notify).start()
    stage.root.set("kv/data/app", {"data": {"password": "second-value"}})
    until(lambda: told.exists() and told.read_text() == "second-value\n", "the app to be notified")


@pytest.mark.parametrize("hangs", [False, True], ids=["vault up", "vault hanging"])
def test_a_native_sidecar_revokes_at_the_stop(stage: Stage, hangs: bool) -> None:
    stage.database().approle(READ).secret(**DATABASE)
    sync = stage.process(lifecycle="native", remove_files_on_stop=True).start()
    assert len(stage.vault.state()["users"]) == 1
    if hangs:
        stage.vault.set_faults(Fault("hang"))
    began = time.monotonic()
    assert sync.terminate() == 0
    assert time.monotonic() - began < (5 if hangs else 2)
    assert stage.read("db.json") == ""
    if not hangs:
        assert stage.vault.state()["users"] == {}


def test_an_ordinary_sidecar_leaves_what_the_app_still_uses(stage: Stage) -> None:
    sync = stage.database().approle(READ).secret(**DATABASE).process().start()
    assert sync.terminate() == 0
    assert user(stage) in stage.vault.state()["users"]


def test_a_target_on_a_disk_is_refused(stage: Stage, tmp_path: Path) -> None:
    if stage.volume.is_relative_to(tmp_path):
        pytest.skip("needs a tmpfs at /dev/shm to tell it from a disk")
    stage.kv().approle(READ).secret(**KV)
    stage.configuration["targets"] = [{"name": "main", "path": str(Path.cwd())}]
    done = stage.process().check()
    assert done.returncode == 2
    assert "not in memory" in done.stderr


def test_a_wrapped_secret_id_is_unwrapped_when_ours_and_refused_when_not(stage: Stage) -> None:
    stage.kv().approle(READ).secret(**KV)
    path = "auth/approle/role/app/secret-id"
    auth = stage.configuration["auth"] | {"wrapped": True, "wrapped_path": path}
    foreign = stage.root.write("sys/wrapping/wrap", {"secret_id": "x"}, X_Vault_Wrap_TTL="60s").body["wrap_info"]
    (stage.folder / "secret-id").write_text(foreign["token"])
    refused = stage.process(auth=auth, start_deadline_seconds=3)
    refused.flags = ("--once",)
    refused.start(wait=False)
    assert refused.wait() == 4
    ours = stage.root.write(path, {}, X_Vault_Wrap_TTL="60s").body["wrap_info"]
    (stage.folder / "secret-id").write_text(ours["token"])
    SecretSyncProcess.start(stage.process(auth=auth))
    assert stage.read("password") == "first-value"


def test_check_names_the_policy_and_asks_vault_without_a_login(stage: Stage) -> None:
    done = stage.kv().approle(READ).secret(**KV).secret(**TLS).process().check()
    assert done.returncode == 0, done
    assert 'path "kv/data/app" { capabilities = ["read"] }' in done.stdout
    assert 'path "pki/issue/web" { capabilities = ["update"] }' in done.stdout
    assert stage.asked("auth/approle/login") == 0


def test_ambient_credentials_and_proxies_are_not_used(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".vault-token").write_text("ambient")
    sync = stage.kv().approle(READ).secret(**KV).process()
    nowhere = "http://127.0.0.1:9"
    sync.environment = {"HOME": str(tmp_path), "VAULT_TOKEN": "ambient", "HTTP_PROXY": nowhere, "http_proxy": nowhere}
    sync.start()
    headers = [seen.headers for seen in stage.vault.requests() if "kv/data" in seen.path or "login" in seen.path]
    assert headers
    assert not any("Authorization" in one or one.get("X-Vault-Token") in ("ambient", "root") for one in headers[-2:])
