"""What every sidecar is made of: settings, life cycle, health, metrics, logs, tracing. Knows no sidecar; these are
its public names.
"""

from sidecars.runtime.admin import Admin
from sidecars.runtime.app import run
from sidecars.runtime.backoff import Backoff
from sidecars.runtime.errors import Permanent, Problem, SettingsError, Transient
from sidecars.runtime.fields import Secret
from sidecars.runtime.health import Health, State
from sidecars.runtime.logs import Log
from sidecars.runtime.metrics import Metrics
from sidecars.runtime.settings import Settings
from sidecars.runtime.sidecar import Context, Finding, Flag, Sidecar
from sidecars.runtime.stop import Stop
from sidecars.runtime.tasks import guard, supervise

__all__ = [
    "Admin",
    "Backoff",
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
