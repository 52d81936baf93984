"""`python -m sidecars.devstack key-vault`: the stand-in as a process, until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import ssl
import sys
from pathlib import Path

from .server import RESOURCE, KeyVault, Options
from .tokens import CLIENT, TENANT, projected_token

_EPILOG = f"""
An identity is there: AZURE_TENANT_ID={TENANT} AZURE_CLIENT_ID={CLIENT}
and its projected token in the file of --token-file. With it:
  sidecar secret-sync --config FILE    key_vault: {{address: URL, authority_host: URL, resource: {RESOURCE}}}
While it runs:  PUT /secrets/NAME {{"value": ...}} with a token
                PUT /_faults [{{"kind": "status", "match": "/secrets/", "status": 429}}]
                DELETE /_faults   POST /_clock {{"advance_seconds": 3600}}   GET /_requests, GET /_state, GET /_token
"""


def main(arguments: list[str]) -> int:
    """Serve until a signal. Returns 0; 1 when it cannot listen; argparse exits with 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecars.devstack key-vault",
        description="A small Azure Key Vault in memory, with what gives tokens for it; with scripted faults.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8300, help="port; 0 takes a free one (default %(default)s)")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="serve https with this chain")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="private key (default: in the certificate's file)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="write a projected token there at the start")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=VALUE", help="a secret that is there")
    parser.add_argument(
        "--certificate", action="append", default=[], metavar="NAME", help="a certificate that is there"
    )
    parsed = parser.parse_args(arguments)
    try:
        options = _options(parsed)
    except (OSError, ssl.SSLError) as error:
        parser.error(f"cannot use these arguments: {error}")
    try:
        asyncio.run(_serve(options, parsed))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another --port")
        return 1
    return 0


def _options(parsed: argparse.Namespace) -> Options:
    tls = None
    if parsed.tls_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(parsed.tls_certificate, parsed.tls_key)
    return Options(parsed.host, parsed.port, tls)


async def _serve(options: Options, parsed: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with KeyVault.start(options) as server:
        for pair in parsed.secret:
            name, _, value = pair.partition("=")
            server.objects.put(name, value)
        for name in parsed.certificate:
            server.objects.put_certificate(name, server.authority.issue(f"{name}.svc", server.clock.now()))
        if parsed.token_file is not None:
            parsed.token_file.write_text(projected_token(server.clock, lasts_seconds=86400.0), encoding="ascii")
        print(server.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
