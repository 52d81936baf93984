"""The values every sidecar is described and served with: Sidecar (what it is) and Context (what it gets)."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .errors import Problem
from .observe.health import Health
from .observe.logs import Log
from .settings.fields import SettingKind, fields_of
from .settings.load import Basics, Settings, load
from .stop import Stop

if TYPE_CHECKING:  # 18 MiB that a sidecar without admin endpoint does not pay
    from opentelemetry.trace import Tracer

    from .observe.admin import Admin
    from .observe.metrics import Metrics


@dataclass(frozen=True)
class Context:
    """What the runtime hands to `main`. Without admin endpoint, using metrics, tracer or admin raises TypeError."""

    name: str
    stop: Stop
    health: Health
    metrics: "Metrics"
    log: Log
    tracer: "Tracer"
    admin: "Admin"


Main = Callable[[Any, Context], Awaitable[int | None]]


@dataclass(frozen=True)
class OneShot:
    """What a flag runs instead of the sidecar, without the admin server; what `main` returns is the exit status. `name`
    is the flag without dashes; `unneeded` names settings that the one-shot can do without.
    """

    name: str
    help: str
    main: Main
    unneeded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One line of `sidecar check NAME`: an error makes its exit status 1."""

    level: Literal["ok", "warning", "error"]
    text: str


@dataclass(frozen=True)
class Sidecar:
    """One sidecar: `main(settings, context)` runs until the stop is requested, or until it is done.

    `main` returns None or an exit status. With `admin=False` main itself is run as a one-shot, alone in its process.

    `refuse_start(settings)` looks at this machine and returns what forbids a start, as problems of settings: neither
    the sidecar nor `sidecar check NAME` goes on then. `check(settings)` adds findings to `sidecar check NAME`, and so
    does `check_outside(settings)`, which asks servers, unless it is told `--offline`.

    `metrics(metrics)` makes every metric of it, for the reference: what a scrape shows is documented from the same
    declarations.

    `words` names the list setting that takes the words of the command line, each as one item; `rest` the one that takes
    everything after a lone `--`. `aliases` maps other people's names of a flag, without dashes, to our setting.
    """

    name: str
    settings: type[Basics]
    main: Main
    admin: bool = True
    oneshots: tuple[OneShot, ...] = ()
    refuse_start: Callable[[Any], Iterable[Problem]] | None = None
    metrics: "Callable[[Metrics], object] | None" = None
    check: Callable[[Any], Iterable[Finding]] | None = None
    check_outside: Callable[[Any], Awaitable[Iterable[Finding]]] | None = None
    words: str = ""
    rest: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError when the parts do not fit together."""
        kinds = {setting.name: setting.kind for setting in fields_of(self.settings)}
        wrong = {
            "settings are Settings with an admin endpoint, else Basics": self.admin
            != issubclass(self.settings, Settings),
            "its words or its rest are no list setting": any(
                name and kinds.get(name) is not SettingKind.LIST for name in (self.words, self.rest)
            ),
            "a setting is called like a flag of every sidecar": bool(kinds.keys() & {"config", "help", "version"}),
            "an alias is for no setting": not kinds.keys() >= set(self.aliases.values()),
        }
        for what in (what for what, so in wrong.items() if so):
            raise ValueError(f"cannot use the sidecar {self.name}: {what}")

    def load(
        self, environ: Mapping[str, str], flags: Mapping[str, object] | None = None, oneshot: str | None = None
    ) -> Basics:
        """Return the settings (`settings.load`), for a start here and now. Raise SettingsError with every problem, also
        those that only this machine shows; what the one-shot does not need may be missing.
        """
        unneeded = self.oneshot(oneshot).unneeded if oneshot else ()

        def check(made: Basics) -> Iterable[Problem]:
            found = [*made.problems(), *(self.refuse_start(made) if self.refuse_start else ())]
            return (problem for problem in found if problem.setting not in unneeded)

        return load(self.settings, self.prefix, environ, flags or {}, check)

    def oneshot(self, name: str) -> OneShot:
        """Return the one-shot of a flag."""
        return next(oneshot for oneshot in self.oneshots if oneshot.name == name)

    @property
    def prefix(self) -> str:
        """The prefix of its environment variables, such as `LOG_SHIPPER_`."""
        return self.name.replace("-", "_").upper() + "_"
