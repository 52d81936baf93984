"""Addresses of Elasticsearch, as manifests have them."""

from urllib.parse import urlsplit


def url_of_host(hosts: str, port: str) -> str:
    """ELASTICSEARCH_HOST as people have it (a name, name:port, a whole URL, or several) as addresses, comma-separated.

    A Service called `elasticsearch` makes Kubernetes set ELASTICSEARCH_PORT to `tcp://...`: that is not a port.
    """
    if not port.isdigit():
        port = "9200"
    urls = []
    for host in filter(None, (part.strip() for part in hosts.split(","))):
        if "://" in host:
            urls.append(host)
        else:
            name, colon, own_port = host.rpartition(":")
            urls.append(f"http://{host}" if colon and own_port.isdigit() and name else f"http://{host}:{port}")
    return ",".join(urls)


def fault(url: str) -> str:
    """What is wrong with an address, without repeating it: it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "an address is not a URL"
    if parts.scheme not in ("http", "https"):
        return "an address does not begin with http:// or https://"
    return "" if parts.hostname else "an address names no host"
