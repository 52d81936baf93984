"""What names a place, and what is refused with its remedy."""

import pytest

from sidecars.ambassador.core.address import (
    BadAddress,
    HostAddress,
    ServiceName,
    SocketPath,
    listen_address,
    upstream_address,
)

GOOD = {
    "db-1:5432": HostAddress("db-1", 5432),
    " 10.0.0.1:6379 ": HostAddress("10.0.0.1", 6379),
    "[fd00::1]:5432": HostAddress("fd00::1", 5432),
    "db.a_b.svc.cluster.local.:1": HostAddress("db.a_b.svc.cluster.local.", 1),
    "srv://_postgres._tcp.db.svc": ServiceName("_postgres._tcp.db.svc"),
    "unix:/run/db/socket.1": SocketPath("/run/db/socket.1"),
}
BAD = [
    "", "db-1", ":5432", "db-1:", "db-1:0", "db-1:65536", "db-1:pg", "fd00::1", "fd00::1:5432", "[db]:5432",
    "db 1:5432", "postgres://db:5432", "db:5432/x", "user@db:5432", "1.2.3.400:1", "-a:1", "a..b:1", "srv://db",
    "unix:run/db", "unix:/x/", f"unix:/{'x' * 107}", "٣:1", "db:٣",
]  # fmt: skip


@pytest.mark.parametrize(("text", "place"), GOOD.items())
def test_a_place_is_read_and_shown_as_it_is_written(text: str, place: object) -> None:
    assert upstream_address(text) == place
    assert str(place) == text.strip()


def test_the_certificate_of_a_service_is_for_its_domain() -> None:
    assert ServiceName("_postgres._tcp.db.svc").domain == "db.svc"


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_place_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(BadAddress) as error:
        upstream_address(text)
    assert error.value.remedy.startswith("write ")


def test_a_folder_gets_the_socket_that_libpq_looks_for_and_any_port_may_be_taken() -> None:
    for folder in ("unix:/run/db", "unix:/run/db/"):
        assert listen_address(folder, ".s.PGSQL.5433") == SocketPath("/run/db/.s.PGSQL.5433")
    assert listen_address("unix:/run/db/my.sock", ".s.PGSQL.5433") == SocketPath("/run/db/my.sock")
    assert listen_address(":6379") == HostAddress("127.0.0.1", 6379)
    assert listen_address("127.0.0.1:0") == HostAddress("127.0.0.1", 0)
