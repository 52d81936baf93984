"""What every sidecar is made of: settings, life cycle, health, metrics, logs, tracing. Knows no sidecar; these are
its public names.

Each is imported when it is first asked for (PEP 562): who has no admin endpoint must not pay for the HTTP server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecars.runtime.admin import Admin
    from sidecars.runtime.app import run
    from sidecars.runtime.backoff import Backoff
    from sidecars.runtime.errors import Permanent, Problem, SettingsError, Transient
    from sidecars.runtime.fields import Secret
    from sidecars.runtime.health import Health, State
    from sidecars.runtime.logs import Log
    from sidecars.runtime.metrics import Metrics
    from sidecars.runtime.settings import Basics, Settings
    from sidecars.runtime.sidecar import Context, Finding, Flag, Sidecar
    from sidecars.runtime.stop import Stop
    from sidecars.runtime.tasks import guard, supervise

__all__ = [
    "Admin",
    "Backoff",
    "Basics",
    "Context",
    "Finding",
    "Flag",
    "Health",
    "Log",
    "Metrics",
    "Permanent",
    "Problem",
    "Secret",
    "Settings",
    "SettingsError",
    "Sidecar",
    "State",
    "Stop",
    "Transient",
    "guard",
    "run",
    "supervise",
]

_HOMES = {
    "admin": ("Admin",),
    "app": ("run",),
    "backoff": ("Backoff",),
    "errors": ("Permanent", "Problem", "SettingsError", "Transient"),
    "fields": ("Secret",),
    "health": ("Health", "State"),
    "logs": ("Log",),
    "metrics": ("Metrics",),
    "settings": ("Basics", "Settings"),
    "sidecar": ("Context", "Finding", "Flag", "Sidecar"),
    "stop": ("Stop",),
    "tasks": ("guard", "supervise"),
}

if not TYPE_CHECKING:  # or mypy would take every name for one of ours

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"sidecars.runtime.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
