"""Addresses of Elasticsearch, as manifests have them."""

import ipaddress
import re
from urllib.parse import urlsplit


def url_of_host(hosts: str, port: str) -> str:
    """Return ELASTICSEARCH_HOST as people have it (a name, name:port, a bare IPv6 address, a whole URL, or several,
    between commas or newlines) as addresses, comma-separated.

    A Service called `elasticsearch` makes Kubernetes set ELASTICSEARCH_PORT to `tcp://...`: that is not a port. Another
    text that is none stays where a port belongs, and so is refused.
    """
    port = "9200" if not port.strip() or "://" in port else port.strip()
    return ",".join(_url(host, port) for host in re.split(r"[,\s]+", hosts) if host)


def _url(host: str, port: str) -> str:
    if "://" in host:
        return host
    if _is_ipv6(host):
        return f"http://[{host}]:{port}"
    name, colon, own_port = host.rpartition(":")
    return f"http://{host}" if colon and own_port.isdigit() and name else f"http://{host}:{port}"


def _is_ipv6(host: str) -> bool:
    """Return whether it is an address without brackets: its colons are no ports."""
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def fault(url: str) -> str:
    """Return what is wrong with an address, without repeating it: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return _not_a_url(url)
    if port == 0:
        return _not_a_url(url)
    if parts.scheme not in ("http", "https"):
        return "an address does not begin with http:// or https://"
    return "" if parts.hostname else "an address names no host"


def _not_a_url(url: str) -> str:
    place = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if _is_ipv6(place) or _is_ipv6(place.rpartition(":")[0]):
        return "an IPv6 address stands without brackets, as in http://[fd00::1]:9200"
    port = place.rpartition(":")[2]
    if ":" in place and "]" not in port and not (port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536):
        return "the port of an address is not a number from 1 to 65535"
    return "an address is not a URL"
