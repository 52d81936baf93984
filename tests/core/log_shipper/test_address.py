"""Addresses of Elasticsearch, as manifests and Secrets have them."""

import pytest

from sidecars.log_shipper.core.address import fault, url_of_host
from sidecars.log_shipper.settings import LogShipperSettings
from sidecars.runtime.settings.load import load


@pytest.mark.parametrize(
    ("host", "port", "urls"),
    [
        ("es", "", "http://es:9200"),
        ("es", "9201", "http://es:9201"),
        ("es", " 9201 ", "http://es:9201"),
        ("es:1", "2", "http://es:1"),
        ("es", "tcp://10.0.0.1:9200", "http://es:9200"),
        ("https://es", "1", "https://es"),
        ("a,b:1\nc", "7", "http://a:7,http://b:1,http://c:7"),
        ("fd00::1", "", "http://[fd00::1]:9200"),
        ("fd00::1", "9201", "http://[fd00::1]:9201"),
        ("[fd00::1]", "9201", "http://[fd00::1]:9201"),
        ("[fd00::1]:1", "9201", "http://[fd00::1]:1"),
        ("::1, es:4", "5", "http://[::1]:5,http://es:4"),
        ("", "9200", ""),
    ],
)
def test_a_host_becomes_an_address(host: str, port: str, urls: str) -> None:
    assert url_of_host(host, port) == urls
    assert not any(fault(url) for url in urls.split(",") if url)


@pytest.mark.parametrize("port", ["abc", "92OO", "99999", "0", "-1"])
def test_a_port_that_is_none_is_not_ignored(port: str) -> None:
    assert fault(url_of_host("es", port)) == "the port of an address is not a number from 1 to 65535"


@pytest.mark.parametrize("url", ["http://fd00::1:9200", "https://fd00::1", "http://u:p@fd00::1:9200/x", "http://::1/"])
def test_an_ipv6_address_without_brackets_is_told_so(url: str) -> None:
    assert fault(url) == "an IPv6 address stands without brackets, as in http://[fd00::1]:9200"


def test_newlines_at_the_end_of_variables_are_no_part_of_host_port_and_credentials() -> None:
    """As a Secret made by `echo` has them: else the port is not one, and the password is refused for ever."""
    variables = {"HOST": "es\n", "PORT": "9201\n", "USERNAME": "elastic\n", "PASSWORD": "s3cret\r\n"}
    environ = {f"ELASTICSEARCH_{name}": text for name, text in variables.items()} | {"LOG_SHIPPER_PATHS": "/a/*.log\n"}
    found = load(LogShipperSettings, "LOG_SHIPPER_", environ)
    assert (found.elasticsearch_url, found.paths, found.username) == (("http://es:9201",), ("/a/*.log",), "elastic")
    assert found.password is not None
    assert found.password.reveal() == "s3cret"
