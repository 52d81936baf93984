"""What an operator can say: a line of flags, twelve lines of YAML, and what is refused with its place and remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecars.ambassador.agent import SIDECAR
from sidecars.ambassador.core.address import HostAddress, SocketPath
from sidecars.ambassador.core.selection import TargetRole
from sidecars.ambassador.settings import AmbassadorSettings, CheckKind, Protocol, Tls
from sidecars.runtime import SettingsError
from sidecars.runtime.command.flags import parse_arguments


def by_flags(*words: str) -> AmbassadorSettings:
    line = parse_arguments(SIDECAR, words)
    assert not line.problems
    made = SIDECAR.load({}, line.flags)
    assert isinstance(made, AmbassadorSettings)
    return made


def by_yaml(text: str, tmp_path: Path) -> AmbassadorSettings:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return by_flags("--config", str(file))


def test_the_simple_case_is_one_line_and_prefers_the_first_upstream() -> None:
    words = "--listen 127.0.0.1:5432 --upstream db-1:5432 --upstream db-2:5432 --protocol postgres --tls"
    (plan,) = by_flags(*words.split()).plans()
    assert plan.listen == (HostAddress("127.0.0.1", 5432),)
    assert [(one.address, one.priority) for one in plan.upstreams] == [("db-1:5432", 0), ("db-2:5432", 1)]
    assert (plan.protocol, plan.tls, plan.check_kind) == (Protocol.POSTGRES, Tls(), CheckKind.POSTGRES)


def test_the_files_of_tls_alone_mean_tls() -> None:
    (plan,) = by_flags("--listen", ":5432", "--upstream", "db:5432", "--ca-file", "/tls/ca.crt").plans()
    assert (plan.tls, plan.check_kind) == (Tls(ca_file="/tls/ca.crt"), CheckKind.TLS)
    assert plan.listen == (HostAddress("127.0.0.1", 5432),)


def test_a_listener_takes_over_what_it_does_not_say(tmp_path: Path) -> None:
    text = """
    protocol: postgres
    tls: {ca_file: /tls/ca.crt}
    check: {kind: patroni}
    upstreams: [{address: "db-1:5432", check_address: "db-1:8008"}]
    park: {seconds: 3}
    listeners:
      - {listen: ["127.0.0.1:5432", "unix:/tmp/"], role: primary}
      - {name: cache, listen: ["127.0.0.1:6379"], protocol: redis, upstreams: [{address: "redis:6379"}],
         tls: {enabled: false}, check: {kind: auto}}
    """
    database, cache = by_yaml(text, tmp_path).plans()
    assert database.listen == (HostAddress("127.0.0.1", 5432), SocketPath("/tmp/.s.PGSQL.5432"))
    assert (database.name, database.role, database.tls) == (
        "127.0.0.1:5432",
        TargetRole.PRIMARY,
        Tls(ca_file="/tls/ca.crt"),
    )
    assert (cache.name, cache.role, cache.tls, cache.check_kind) == ("cache", TargetRole.ANY, None, CheckKind.REDIS)
    assert database.park == cache.park
    assert cache.park.seconds == 3


def test_a_mistake_in_the_simple_form_is_told_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"cannot use upstream \(from --upstream\): it is no host and port"):
        by_flags("--listen", ":5432", "--upstream", "db")


GOOD: dict[str, Any] = {"listen": ["127.0.0.1:5432"], "upstreams": [{"address": "db:5432"}]}
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "nowhere to listen": ({"listen": []}, "listen", "say where"),
    "nowhere to go": ({"upstreams": []}, "upstreams", "--upstream"),
    "an address without a port": ({"upstreams": [{"address": "db"}]}, r"upstreams\[0\].address", "HOST:PORT"),
    "an address twice": ({"upstreams": [{"address": "db:1"}] * 2}, r"upstreams\[1\].address", "take one out"),
    "a role that nothing tells": ({"role": "primary"}, "role", "check.kind"),
    "a check that logs in as nobody": ({"protocol": "postgres", "check": {"kind": "sql"}}, "check.user", "user_file"),
    "a check of another protocol": ({"check": {"kind": "postgres"}}, "check.kind", "protocol"),
    "a check of TLS without TLS": ({"check": {"kind": "tls"}}, "check.kind", "set tls"),
    "TLS for mysql": ({"protocol": "mysql", "tls": {}}, "tls", "let the app"),
    "a key without a certificate": ({"key_file": "/k"}, "tls.certificate_file", "name the file"),
    "no rule": ({"tls": {"sans": ["cn:db"]}}, r"tls.sans\[0\]", "mend it"),
    "no network": ({"proxy_protocol": {"accept_from": ["10.0.0.0/33"]}}, "accept_from", "10.0.0.0/8"),
    "an old version of TLS": ({"tls": {"minimum_version": "1.1"}}, "tls.minimum_version", "1"),
    "one address for two listeners": ({"listeners": [{}, {"name": "b"}]}, "listen", "of its own"),
    "one name for two listeners": (
        {"listeners": [{"name": "a"}, {"name": "a", "listen": ["127.0.0.1:1"]}]}, "listen", "of its own"),
    "a path that is too long": ({"listen": [f"unix:/{'x' * 120}"]}, "listen", "unix:/run"),
    "a folder that is not there": ({"listen": ["unix:/nowhere/socket.1"]}, "listen", "mount it"),
    "an unknown key": ({"upstreams": [{"adress": "db:1"}]}, r"upstreams\[0\].adress", "did you mean address"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "field", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_used_is_refused_with_its_place_and_remedy(
    settings: dict[str, Any], field: str, remedy: str, tmp_path: Path
) -> None:
    by_yaml(yaml.safe_dump(GOOD), tmp_path)
    with pytest.raises(SettingsError, match=field) as error:
        by_yaml(yaml.safe_dump(GOOD | settings), tmp_path)
    assert remedy in str(error.value)
