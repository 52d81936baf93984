"""What a test needs of this machine's names: a bare chroot may not even know its own."""

import socket

import pytest


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


LOCALHOST = pytest.mark.skipif(not _resolves("localhost"), reason="the name localhost does not resolve (/etc/hosts)")
