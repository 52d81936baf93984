"""`python -m sidecars.devstack NAME ...`: run `main(arguments)` of the program NAME, a folder of this package."""

import importlib
import sys

_PROGRAMS = {
    "elasticsearch": "an Elasticsearch with scripted faults",
    "demo": "the demonstration: an app, its rotated log, a shipper that is killed, and what arrived",
    "shop": "the app of compose.yaml: answers by its configuration, and logs each request",
    "compose": "up: compose.yaml, a pod on your laptop, and what to try with it; down: ends it",
    "tour": "drives the pod of compose.yaml through its life, and checks each step",
    "key-vault": "an Azure Key Vault with what gives tokens for it, and scripted faults",
    "vault": "a Vault with scripted faults, whose clock can be put forward",
}


def main(arguments: list[str]) -> int:
    """Run one of them; return the exit status, 2 for an unknown name."""
    if not arguments or arguments[0] not in _PROGRAMS:
        lines = [f"  {name:<15}{about}" for name, about in _PROGRAMS.items()]
        print("usage: python -m sidecars.devstack NAME [-h] ...", *lines, sep="\n")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    module = importlib.import_module(f"sidecars.devstack.{arguments[0].replace('-', '_')}.__main__")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
