"""`python -m sidecars.devstack vault`: the stand-in as a process, until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import ssl
import sys
from pathlib import Path

from .backend import Call
from .server import Options, Vault

_EPILOG = """
While it runs:  PUT /_faults [{"kind": "status", "match": "sys/leases/renew", "status": 500}]   DELETE /_faults
                POST /_clock {"advance_seconds": 3600}    its time goes forward
                GET /_requests, GET /_state               what was asked, and what lives

With --demo there are kv/shop, which is of KV 2 with the key coupon, and the token "shop", which may read it and lasts
an hour from its last renewal.
"""


def main(arguments: list[str]) -> int:
    """Serve until a signal. Returns 0; 1 when it cannot listen; argparse exits with 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack vault",
        description="A small Vault in memory: logins, leases, KV, PKI, databases; with scripted faults.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8200, help="port; 0 takes a free one (default %(default)s)")
    parser.add_argument("--root-token", default="root", metavar="TOKEN", help="the root token (default %(default)s)")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="serve https with this chain")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="private key (default: in the certificate's file)")
    parser.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="ask clients for a certificate of this CA")
    parser.add_argument("--demo", action="store_true", help="with a secret and a token for the shop of compose.yaml")
    parsed = parser.parse_args(arguments)
    try:
        options = _options(parsed)
    except (OSError, ssl.SSLError) as error:
        parser.error(f"cannot use these arguments: {error}")
    try:
        asyncio.run(_serve(options, demo=parsed.demo))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port")
        return 1
    return 0


def _options(parsed: argparse.Namespace) -> Options:
    tls = None
    if parsed.tls_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=parsed.tls_client_ca)
        tls.load_cert_chain(parsed.tls_certificate, parsed.tls_key)
        tls.verify_mode = ssl.CERT_OPTIONAL if parsed.tls_client_ca else ssl.CERT_NONE
    return Options(parsed.host, parsed.port, parsed.root_token, tls)


_DEMO = (
    ("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}),
    ("kv/data/shop", {"data": {"coupon": "free-espresso"}}),
    ("sys/policies/acl/shop", {"policy": 'path "kv/data/shop" { capabilities = ["read"] }'}),
    ("auth/token/create", {"id": "shop", "policies": ["shop"], "period": "1h"}),
)


async def _prepare(server: Vault, root_token: str) -> None:
    for path, body in _DEMO:
        await server.backend.answer(Call("POST", path, body, root_token))


async def _serve(options: Options, *, demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Vault.start(options) as server:
        if demo:
            await _prepare(server, options.root_token)
        print(server.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
