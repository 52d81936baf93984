"""`python -m sidecars.devstack NAME ...`: runs `main(arguments)` of the module NAME of this package."""

import importlib
import sys

_PARTS = {
    "elasticsearch": ("elasticsearch.command", "an Elasticsearch with scripted faults"),
    "demo": ("demo.command", "the demonstration: an app, its rotated log, a shipper that is killed, and what arrived"),
    "shop": ("shop.command", "the app of compose.yaml: answers by its configuration, and logs each request"),
    "compose": ("tour.compose", "up: compose.yaml, a pod on your laptop, and what to try with it; down: ends it"),
    "tour": ("tour.command", "drives the pod of compose.yaml through its life, and checks each step"),
}


def main(arguments: list[str]) -> int:
    """Runs one part; returns the exit status, 2 for an unknown name."""
    if not arguments or arguments[0] not in _PARTS:
        lines = [f"  {name:<15}{about}" for name, (_, about) in _PARTS.items()]
        print("usage: python -m sidecars.devstack NAME [-h] ...", *lines, sep="\n")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    module = importlib.import_module(f"sidecars.devstack.{_PARTS[arguments[0]][0]}")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
