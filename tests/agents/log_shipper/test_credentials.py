"""Credentials and certificates against a server that asks for them: any way of giving them, files that are replaced."""

import json
import ssl
from array import array
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from sidecars.devstack.elasticsearch.serving import Served
from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.bulk import Answer
from sidecars.log_shipper.sending.elastic import Elastic
from sidecars.runtime import Secret
from tests.support.context import settings
from tests.support.elastic import StartStandIn

USER, PASSWORD, API_KEY = "shipper", "pass/word 1", "id:key"
RECORD = b'{"create":{}}\n{"message":"m"}\n'
ENCODED = b64encode(API_KEY.encode()).decode()


@asynccontextmanager
async def sender(served: Served, **given: object) -> AsyncIterator[Elastic]:
    elastic = Elastic(settings(**{"elasticsearch_url": (served.url,), "index": "lines", **given}))
    try:
        yield elastic
    finally:
        await elastic.close()


async def outcome(elastic: Elastic) -> int | str:
    """The status of an attempt, or the reason why there is none."""
    answer: Answer = await elastic.send(Payload(elastic.pack([RECORD]), 1, array("Q", [10])))
    return answer.status or answer.reason


def replace(path: Path, content: str | bytes) -> None:
    """As a Secret volume does it: never half a file."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
    fresh.replace(path)


@pytest.fixture
def guarded(start_stand_in: StartStandIn) -> Served:
    return start_stand_in(ServerOptions(access=Access(((USER, PASSWORD),), (API_KEY,))))


GIVEN: dict[str, tuple[dict[str, object], int]] = {
    "user and password": ({"username": USER, "password": Secret(PASSWORD)}, 200),
    "an API key": ({"api_key": Secret(f"{ENCODED}\n")}, 200),
    "in the address": ({"elasticsearch_url": f"//{USER}:pass%2Fword%201@"}, 200),
    "a wrong password": ({"username": USER, "password": Secret("other")}, 401),
    "nothing": ({}, 401),
}


@pytest.mark.parametrize("how", GIVEN)
async def test_a_credential_may_be_given_any_way(guarded: Served, how: str) -> None:
    given, status = GIVEN[how]
    if address := given.get("elasticsearch_url"):
        given = {"elasticsearch_url": (guarded.url.replace("//", str(address)),)}
    async with sender(guarded, **given) as elastic:
        assert await outcome(elastic) == status


@pytest.mark.parametrize("kind", ["api_key_file", "password_file"])
async def test_a_replaced_file_is_taken_up(guarded: Served, tmp_path: Path, kind: str) -> None:
    right = ENCODED if kind == "api_key_file" else PASSWORD
    file = tmp_path / "credential"
    file.write_text("wrong\n", encoding="utf-8")
    async with sender(guarded, **{kind: str(file)}, username="" if kind == "api_key_file" else USER) as elastic:
        assert await outcome(elastic) == 401
        replace(file, right + "\n")
        assert await outcome(elastic) == 200
        file.unlink()
        assert await outcome(elastic) == "credentials"
        replace(file, right)
        assert await outcome(elastic) == 200
    assert [json.loads(each.source)["message"] for each in guarded.documents()] == ["m", "m"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00k\x00e\x00y", b"two\nlines", b"", "schl\u00fcssel".encode()])
async def test_a_file_that_holds_no_credential_is_an_answer_until_it_does(
    guarded: Served, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "credential"
    file.write_bytes(content)
    async with sender(guarded, api_key_file=str(file)) as elastic:
        assert await outcome(elastic) in ("credentials", 401)
        replace(file, ENCODED)
        assert await outcome(elastic) == 200


async def test_a_file_that_becomes_readable_is_read_then(
    guarded: Served, tmp_path: Path, nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    """That changes neither its size nor its modification time."""
    file = tmp_path / "credential"
    file.write_text(ENCODED, encoding="utf-8")
    async with sender(guarded, api_key_file=str(file)) as elastic:
        for mode, expected in ((0, "credentials"), (0o644, 200)):
            file.chmod(mode)
            with nobody():
                assert await outcome(elastic) == expected


def server_context(authority: trustme.CA, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pem(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes()


async def test_an_authority_is_trusted_once_its_file_names_it(start_stand_in: StartStandIn, tmp_path: Path) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    served = start_stand_in(ServerOptions(tls=server_context(authority)))
    for content, expected in ((pem(trustme.CA()), "tls"), (b"no certificate at all", "credentials")):
        replace(file, content)
        async with sender(served, ca_file=str(file)) as elastic:
            assert await outcome(elastic) == expected
            replace(file, pem(authority))
            assert await outcome(elastic) == 200
            replace(file, b"broken again, while the connections of before still work")
            assert await outcome(elastic) == 200
    assert len(served.documents()) == 4


async def test_a_client_certificate_is_taken_up_when_its_files_are_replaced(
    start_stand_in: StartStandIn, tmp_path: Path
) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    served = start_stand_in(ServerOptions(tls=server_context(authority, clients)))
    ca, certificate, key = (tmp_path / name for name in ("ca.pem", "tls.crt", "tls.key"))
    ca.write_bytes(pem(authority))

    def issue(by: trustme.CA) -> None:
        leaf = by.issue_cert("shipper")
        replace(certificate, b"".join(part.bytes() for part in leaf.cert_chain_pems))
        replace(key, leaf.private_key_pem.bytes())

    issue(trustme.CA())
    files = {"ca_file": str(ca), "client_certificate_file": str(certificate), "client_key_file": str(key)}
    async with sender(served, **files) as elastic:
        assert await outcome(elastic) in ("tls", "connection")
        for _ in range(2):
            issue(clients)
            assert await outcome(elastic) == 200
