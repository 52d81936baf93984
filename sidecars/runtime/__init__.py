"""What every sidecar is made of: settings, life cycle, health, metrics, logs, tracing. Knows no sidecar; these are
its public names.

Each is imported when it is first asked for (PEP 562): a sidecar without admin endpoint must not pay for an HTTP server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backoff import Backoff as Backoff
    from .errors import Permanent as Permanent
    from .errors import Problem as Problem
    from .errors import SettingsError as SettingsError
    from .errors import Transient as Transient
    from .life.run import run as run
    from .life.status import ExitStatus as ExitStatus
    from .observe.admin import Admin as Admin
    from .observe.health import Health as Health
    from .observe.health import State as State
    from .observe.logs import Log as Log
    from .observe.metrics import Metrics as Metrics
    from .settings.fields import Secret as Secret
    from .settings.load import Basics as Basics
    from .settings.load import Settings as Settings
    from .sidecar import Context as Context
    from .sidecar import Finding as Finding
    from .sidecar import OneShot as OneShot
    from .sidecar import Sidecar as Sidecar
    from .stop import Stop as Stop
    from .tasks import supervise as supervise

_HOMES = {
    "Admin": "observe.admin",
    "Backoff": "backoff",
    "Basics": "settings.load",
    "Context": "sidecar",
    "ExitStatus": "life.status",
    "Finding": "sidecar",
    "Health": "observe.health",
    "Log": "observe.logs",
    "Metrics": "observe.metrics",
    "OneShot": "sidecar",
    "Permanent": "errors",
    "Problem": "errors",
    "Secret": "settings.fields",
    "Settings": "settings.load",
    "SettingsError": "errors",
    "Sidecar": "sidecar",
    "State": "observe.health",
    "Stop": "stop",
    "Transient": "errors",
    "run": "life.run",
    "supervise": "tasks",
}

if not TYPE_CHECKING:  # or mypy would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(import_module(f"sidecars.runtime.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
