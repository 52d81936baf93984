"""Credentials and certificates: refused ones hold the data, replaced ones are taken up while running, and none of them
is ever shown.
"""

import json
import os
import ssl
from base64 import b64encode
from pathlib import Path

import pytest
import trustme

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from tests.support.books import assert_balanced
from tests.support.elastic import StartStandIn
from tests.support.log_stage import LogStage

USER, PASSWORD = "shipper", "planted-password-1"
API_KEY = "planted-id:planted-key-2"


def encoded(key: str) -> str:
    return b64encode(key.encode()).decode()


def messages(served: Served) -> list[str]:
    return [json.loads(document.source)["message"] for document in served.documents()]


def replace(path: Path, text: str) -> None:
    """As a Secret volume does it: never half a file."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def held(stage: LogStage) -> bool:
    return stage.shipper.metric("delivery_held") == 1


def everything_shown(stage: LogStage) -> str:
    """All that a stranger sees of the process."""
    pages = [stage.shipper.ask(path)[1] for path in ("/metrics", "/status", "/readyz", "/startupz", "/livez")]
    command_line = Path(f"/proc/{stage.shipper.pid}/cmdline").read_bytes().decode()
    files = [path.read_text("utf-8", "replace") for path in (stage.folder / "state").rglob("*") if path.is_file()]
    return "\n".join([*pages, command_line, *files, stage.shipper.stderr])


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_hold_everything_and_say_so_loudly(tmp_path: Path, status: int) -> None:
    with LogStage(tmp_path) as stage:
        stage.shipper.start()
        stage.write(100)
        stage.until_delivered()
        stage.backend.faults(request_status=status)
        stage.write(2000)
        stage.shipper.until(lambda: held(stage), "it to hold")
        (line,) = stage.shipper.logged("delivery.held")
        assert line["level"] == "error"
        assert str(status) in line["message"]
        assert "api_key_file" in line["message"], "what a person has to look at"
        assert "Check the credentials" in stage.shipper.ask("/readyz")[1]
        assert stage.shipper.metric('retried_records_total{reason="forbidden"}') > 0
        stage.backend.faults()
        stage.until_delivered()
        assert not held(stage)
        assert stage.letters() == [], "refused credentials are no fault of the records"
        stage.assert_all_arrived()


def test_items_refused_for_want_of_a_privilege_hold_everything_too(tmp_path: Path) -> None:
    with LogStage(tmp_path) as stage:
        stage.backend.faults(item_rules=[{"match": "line", "status": 403, "type": "security_exception"}])
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: held(stage), "it to hold")
        stage.backend.faults()
        stage.until_delivered()
        assert stage.letters() == []
        stage.assert_all_arrived()


@pytest.mark.parametrize("kind", ["api_key_file", "password_file"])
def test_a_replaced_credential_file_is_taken_up_while_running(
    tmp_path: Path, kind: str, start_stand_in: StartStandIn
) -> None:
    right = encoded(API_KEY) if kind == "api_key_file" else PASSWORD
    backend = start_stand_in(ServerOptions(access=Access(((USER, PASSWORD),), (API_KEY,))))
    file = tmp_path / "credential"
    file.write_text("planted-wrong-one\n", encoding="utf-8")
    settings = {kind: str(file)} | ({"username": USER} if kind == "password_file" else {})
    with LogStage(tmp_path, elasticsearch_url=backend.url, **settings) as stage:
        stage.shipper.start()
        stage.write(500)
        stage.shipper.until(lambda: held(stage), "the wrong one to be refused")
        replace(file, right + "\n")
        stage.until_delivered()
        file.unlink()
        stage.write(500)
        stage.shipper.until(lambda: held(stage), "the missing one to be noticed")
        replace(file, right)
        stage.until_delivered()
        assert_balanced(stage.lines, messages(backend))
        shown = everything_shown(stage)
        assert "planted" not in shown
        assert right not in shown


def test_a_credential_file_that_is_no_text_holds_and_does_not_end_the_sidecar(
    tmp_path: Path, start_stand_in: StartStandIn
) -> None:
    backend = start_stand_in(ServerOptions(access=Access(api_keys=(API_KEY,))))
    file = tmp_path / "credential"
    with LogStage(tmp_path, elasticsearch_url=backend.url, api_key_file=file) as stage:
        for content in (b"\xff\xfe\x00k\x00e\x00y", b"two\nlines", b"", "schl\u00fcssel".encode()):
            file.write_bytes(content)
            stage.shipper.start()
            stage.write(10)
            stage.shipper.until(lambda: stage.shipper.metric("retried_records_total") > 0, f"{content!r} to fail")
            replace(file, encoded(API_KEY))
            stage.until_delivered()
            assert stage.shipper.terminate() == 0
        assert_balanced(stage.lines, messages(backend))


def test_a_credential_file_that_becomes_readable_later_is_read_then(
    tmp_path: Path, start_stand_in: StartStandIn
) -> None:
    """Making a file readable changes neither its size nor its modification time."""
    backend = start_stand_in(ServerOptions(access=Access(api_keys=(API_KEY,))))
    file = tmp_path / "credential"
    file.write_text(encoded(API_KEY), encoding="utf-8")
    file.chmod(0)
    with LogStage(tmp_path, elasticsearch_url=backend.url, api_key_file=file) as stage:
        if os.geteuid() == 0:  # root without its capabilities is held to a file's mode too
            stage.shipper.prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        stage.shipper.start()
        stage.write(10)
        stage.shipper.until(lambda: held(stage), "the unreadable file to be noticed")
        file.chmod(0o644)
        stage.until_delivered()
        assert_balanced(stage.lines, messages(backend))


@pytest.mark.parametrize("how", ["settings", "variables of other shippers", "in the address", "api key"])
def test_a_credential_given_any_way_works_and_is_never_shown(
    tmp_path: Path, how: str, start_stand_in: StartStandIn
) -> None:
    backend = start_stand_in(ServerOptions(access=Access(((USER, PASSWORD),), (API_KEY,))))
    with LogStage(tmp_path, elasticsearch_url=backend.url) as stage:
        if how == "settings":
            stage.shipper.settings |= {"username": USER, "password": PASSWORD}
        elif how == "api key":
            stage.shipper.settings["api_key"] = encoded(API_KEY)
        elif how == "in the address":
            stage.shipper.settings["elasticsearch_url"] = backend.url.replace("//", f"//{USER}:{PASSWORD}@")
        else:
            stage.shipper.environment |= {"ELASTICSEARCH_USERNAME": USER, "ELASTICSEARCH_PASSWORD": PASSWORD}
        stage.shipper.start()
        stage.write(50)
        stage.until_delivered()
        backend.down()
        stage.write(50)
        stage.shipper.until(lambda: stage.shipper.logged("delivery.failed"), "a failure that names the address")
        shown = everything_shown(stage)
        backend.up()
        stage.until_delivered()
        assert stage.shipper.terminate() == 0
        for secret in (PASSWORD, encoded(API_KEY), encoded(f"{USER}:{PASSWORD}"), "planted-key"):
            assert secret not in shown
            assert secret not in stage.shipper.stderr
        assert_balanced(stage.lines, messages(backend))


def server_context(authority: trustme.CA, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def test_an_authority_that_is_not_trusted_holds_until_its_file_is_replaced(
    tmp_path: Path, start_stand_in: StartStandIn
) -> None:
    authority = trustme.CA()
    backend = start_stand_in(ServerOptions(tls=server_context(authority)))
    file = tmp_path / "ca.pem"
    file.write_text(pem(trustme.CA()), encoding="utf-8")
    with LogStage(tmp_path, elasticsearch_url=backend.url, ca_file=file) as stage:
        stage.shipper.start()
        stage.write(200)
        stage.shipper.until(lambda: held(stage), "the wrong authority to be refused")
        assert stage.shipper.metric('retried_records_total{reason="tls"}') > 0
        assert "ca_file" in stage.shipper.logged("delivery.held")[0]["message"]
        assert messages(backend) == []
        replace(file, pem(authority))
        stage.until_delivered()
        assert_balanced(stage.lines, messages(backend))


def test_a_file_of_certificates_that_is_none_holds_until_it_is_one(
    tmp_path: Path, start_stand_in: StartStandIn
) -> None:
    authority = trustme.CA()
    backend = start_stand_in(ServerOptions(tls=server_context(authority)))
    file = tmp_path / "ca.pem"
    file.write_text("no certificate at all", encoding="utf-8")
    with LogStage(tmp_path, elasticsearch_url=backend.url, ca_file=file) as stage:
        stage.shipper.start()
        stage.write(100)
        stage.shipper.until(lambda: held(stage), "the broken file to show")
        replace(file, pem(authority))
        stage.until_delivered()
        replace(file, "broken again, while the connections of before still work")
        stage.write(100)
        stage.until_delivered()
        assert_balanced(stage.lines, messages(backend))


def test_a_client_certificate_is_taken_up_when_its_files_are_replaced(
    tmp_path: Path, start_stand_in: StartStandIn
) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    backend = start_stand_in(ServerOptions(tls=server_context(authority, clients)))
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "tls.crt", "tls.key"))
    ca.write_text(pem(authority), encoding="utf-8")

    def issue(by: trustme.CA) -> None:
        leaf = by.issue_cert("shipper")
        replace(certificate, "".join(part.bytes().decode() for part in leaf.cert_chain_pems))
        replace(key, leaf.private_key_pem.bytes().decode())

    issue(trustme.CA())
    files = {"ca_file": ca, "client_certificate_file": certificate, "client_key_file": key}
    with LogStage(tmp_path, elasticsearch_url=backend.url, **files) as stage:
        stage.shipper.start()
        stage.write(200)
        stage.shipper.until(lambda: stage.shipper.metric("retried_records_total") > 0, "the stranger to be refused")
        assert messages(backend) == []
        issue(clients)
        stage.until_delivered()
        issue(clients)
        stage.write(200)
        stage.until_delivered()
        assert_balanced(stage.lines, messages(backend))
        assert "PRIVATE KEY" not in everything_shown(stage)
