"""What every sidecar is made of: settings, life cycle, health, metrics, logs, tracing. Knows no sidecar; these are
its public names.

Each is imported when it is first asked for (PEP 562): who has no admin endpoint must not pay for the HTTP server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backoff import Backoff
    from .errors import Permanent, Problem, SettingsError, Transient
    from .life.run import run
    from .observe.admin import Admin
    from .observe.health import Health, State
    from .observe.logs import Log
    from .observe.metrics import Metrics
    from .settings.fields import Secret
    from .settings.load import Basics, Settings
    from .sidecar import Context, Finding, OneShot, Sidecar
    from .stop import Stop
    from .tasks import supervise

__all__ = [
    "Admin",
    "Backoff",
    "Basics",
    "Context",
    "Finding",
    "Health",
    "Log",
    "Metrics",
    "OneShot",
    "Permanent",
    "Problem",
    "Secret",
    "Settings",
    "SettingsError",
    "Sidecar",
    "State",
    "Stop",
    "Transient",
    "run",
    "supervise",
]

_HOMES = {
    "observe.admin": ("Admin",),
    "life.run": ("run",),
    "backoff": ("Backoff",),
    "errors": ("Permanent", "Problem", "SettingsError", "Transient"),
    "settings.fields": ("Secret",),
    "observe.health": ("Health", "State"),
    "observe.logs": ("Log",),
    "observe.metrics": ("Metrics",),
    "settings.load": ("Basics", "Settings"),
    "sidecar": ("Context", "Finding", "OneShot", "Sidecar"),
    "stop": ("Stop",),
    "tasks": ("supervise",),
}

if not TYPE_CHECKING:  # or mypy would take every name for one of ours

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"sidecars.runtime.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
