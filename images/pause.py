"""`/pause`: process 1 of the compose pod. It owns the pod's network and process namespaces and does nothing else.

What Kubernetes' own pause container does: it stays while the others come and go, and buries processes whose parent
died (an ignored SIGCHLD makes the kernel do it). Only built-in modules, so that it costs 9 MiB and no CPU.
"""

import _signal  # type: ignore[import-not-found]  # built in, and unknown to typeshed
import posix


def leave(number: int, frame: object) -> None:
    """End at once: nothing is held here."""
    del number, frame
    posix._exit(0)


_signal.signal(_signal.SIGTERM, leave)
_signal.signal(_signal.SIGINT, leave)
_signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
while True:
    _signal.pause()
