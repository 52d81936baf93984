"""`sidecar-probe [PAGE] [PORT]`: one look at a sidecar's admin endpoint, for health checks that have to be a command.

Exists for Docker, Compose and Podman, whose health checks run a program in the container, every second or two; the
kubelet asks by itself (`httpGet`). A whole Python with urllib would cost 90 ms and 20 MiB each time, an out-of-memory
risk in a small container, so this takes nothing but the interpreter's built-in modules: about 10 ms and 9 MiB where it
is started with `python3 -I -S`, as in our images. Hence `posix`, `_socket`, `errno` and no type that needs an import.

PAGE: startupz (default: has it started), livez or readyz. PORT: if left out, what the variable SIDECAR_PROBE of the
image says, `LOG_SHIPPER_ADMIN_PORT=9101`: the variable that may name another port, and the default. Of several such
pairs, with spaces between, the first one counts where somebody listens. A port from a settings file has to be given.
Exit status: 0 the page answered 200; 1 it did not, with the reason on stdout; 2 the arguments make no sense.
"""

import _socket
import errno
import posix
import sys

_PAGES = ("livez", "readyz", "startupz")
_SECONDS = 2.0  # for each step; what answers slower than this is not well
_MOST_BYTES = 4096
_LOOPBACK = ((_socket.AF_INET, "127.0.0.1"), (_socket.AF_INET6, "::1"))  # a sidecar may listen on one of them only
_NOBODY = (errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH)


def main() -> int:
    """Look once; see the module's text."""
    words = sys.argv[1:]
    if words[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    pages = [word.strip("/") for word in words if not word.isdigit()] or ["startupz"]
    given = [word for word in words if word.isdigit()]
    ports = given or admin_ports()
    page, *more = pages
    if page not in _PAGES or more or len(given) > 1 or not ports or not all(map(is_port, ports)):
        print("usage: sidecar-probe [livez|readyz|startupz] [PORT]   (PORT may be left out where SIDECAR_PROBE is set)")
        return 2
    for port in ports:
        for family, host in _LOOPBACK:
            try:
                status, text = ask(page, (host, int(port)), family)
            except OSError as error:
                if error.errno in _NOBODY:
                    continue
                print(f"cannot ask {host} port {port} for /{page}: {error}")
                return 1
            print(f"{page}: {status} {text}")
            return 0 if status == "200" else 1
    print(f"cannot ask 127.0.0.1 or ::1, port {' or '.join(ports)}, for /{page}: nobody listens there")
    return 1


def admin_ports() -> list[str]:
    """Return what the environment says, in its order."""
    pairs = [word.partition("=") for word in posix.environ.get(b"SIDECAR_PROBE", b"").decode().split()]
    return [posix.environ.get(variable.encode(), b"").decode().strip() or default for variable, _, default in pairs]


def is_port(text: str) -> bool:
    """Return whether somebody can listen there."""
    return text.isdigit() and 0 < int(text) < 65536


def ask(page: str, address: tuple[str, int], family: int) -> tuple[str, str]:
    """Return the status code and the first bytes of the body. Raise OSError."""
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_SECONDS)
        connection.connect(address)
        connection.send(f"GET /{page} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())  # fits into any send buffer
        answer = b""
        while not complete(answer) and (more := connection.recv(_MOST_BYTES)):
            answer += more
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.decode("latin-1").split(None, 2)
    status = words[1] if len(words) > 1 and words[0].startswith("HTTP/") else "no HTTP status"
    return status, body.decode("utf-8", "replace").strip()


def complete(answer: bytes) -> bool:
    """Return whether all of it is here, or as much as anybody wants to see; else only the end of the connection
    tells.
    """
    head, end, body = answer.lower().partition(b"\r\n\r\n")
    length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    return len(answer) >= _MOST_BYTES or bool(end and length.isdigit() and len(body) >= int(length))


if __name__ == "__main__":
    sys.exit(main())
