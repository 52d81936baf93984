"""An app that looks, in its first instant, whether the sidecars answer at the ports of its arguments; prints their
statuses and stays until it is told to stop. With `--once` it ends, with 0 if all have started.
"""

import http.client
import signal
import sys


def status(port: int) -> int:
    """What /startupz of this port answers; 0 when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/startupz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


ports = [int(word) for word in sys.argv[1:] if word.isdigit()]
found = [status(port) for port in ports]
print("found", *found, flush=True)
if "--once" in sys.argv:
    sys.exit(0 if all(one == 200 for one in found) else 1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
