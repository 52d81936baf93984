"""Wires secret-sync: one loop asks the state machine what to do; requests, publishing and notifying are its tasks."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from sidecars.kit.notify.core.options import StepOptions
from sidecars.kit.notify.core.outcome import Outcome
from sidecars.runtime import Context, OneShot, Permanent, Sidecar, State
from sidecars.runtime.clock import monotonic, seconds_until
from sidecars.runtime.clock import now as wall_clock

from .check import findings, findings_outside, refuse_start
from .core.outcome import TRANSIENT, Failure, shortened
from .core.redaction import Redaction
from .core.sync import Granted, Kind, ProviderRequest, Reading, Spec, Sync
from .handover import HandoverFile
from .metrics import OK, SecretSyncMetrics
from .notifying import Listeners, Notifying
from .provider import Provider, provider_of
from .publishing.targets import Targets
from .settings import PodLifecycle, SecretSyncSettings
from .status import described, measure

REVOKE_SECONDS = 1.5
LOGIN_SECONDS = 1.5
"""So long the end waits for a login that is under way: its token would live on, known to nobody."""
WRITE_RETRY_SECONDS = 1.0
FILES_LOOKED_AT_SECONDS = 1.0
SAID_AGAIN_SECONDS = 30.0
"""How often a failure that goes on is logged, for each secret."""
FAULTY_AGAIN_SECONDS = 10.0
"""A file that could not be made is tried again so often: its template may have been mended."""
TOGETHER_SECONDS = 0.5
"""So long a change waits for reads that are under way, so that what changes together is one generation."""
OPTIONAL_SECONDS = 1.0
"""So long the first generation waits for optional secrets when all required ones are there."""


class OnceStatus(IntEnum):
    """The exit statuses of --once."""

    DONE = 0
    TOO_LATE = 3
    """The deadline passed, and the provider could not be reached or could not answer."""
    REFUSED = 4
    """The deadline passed, and the provider or this machine said no: a login, a policy, a path, a file."""


@dataclass
class Parts:
    """What the agent is built of; tests hand in others."""

    provider: Provider
    targets: Targets
    chance: Callable[[], float] = random.random


class SecretSync:
    """The loop around the state machine."""

    def __init__(
        self, settings: SecretSyncSettings, ctx: Context, parts: Parts, metrics: SecretSyncMetrics | None = None
    ) -> None:
        self._settings = settings
        self._ctx = ctx
        self._provider = parts.provider
        self._targets = parts.targets
        self._metrics = metrics
        stale = {secret.name: secret.stale_seconds for secret in settings.all_secrets}
        specs = [Spec(one.name, one.required, stale[one.name] or float("inf")) for one in settings.all_secrets]
        self._sync = Sync(specs, parts.chance)
        self._redaction = Redaction()
        self._handover = HandoverFile(settings)
        self._happened = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._write_fault = ""
        self._write_at = 0.0
        self._again_at = self._required_at = float("inf")
        self._recovered = False
        self._published_once: set[str] = set()
        steps = (step for notify in settings.notify for step in notify.options)
        listeners = Listeners(self._tried_to_notify, parts.targets.told, self._log_notification)
        self._notifying = Notifying(steps, settings.all_targets[0].path, listeners)
        self._credentials: object = None
        self._told: dict[str, tuple[str, float]] = {}
        self._is_token_unused = False
        self._changed_at = float("inf")

    @property
    def is_complete(self) -> bool:
        """Whether every required secret has been written."""
        required = {secret.name for secret in self._settings.all_secrets if secret.required}
        return required <= self._published_once and not self._sync.is_suspect

    @property
    def holds_leases(self) -> bool:
        """Whether something that was read ends with the token."""
        return any(secret.lease is not None for secret in self._sync.secrets.values())

    async def run(self, until: Callable[[], bool] = lambda: False, deadline: float = float("inf")) -> None:
        """Sync until the stop is requested, `until` says so, or the deadline (of the monotonic clock) has passed."""
        self._ctx.log.redact(self._redaction.hide)
        self._take_over()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._notifying.run()), group.create_task(self._wake_at_stop())]
            while not self._ctx.stop.requested and not until() and monotonic() < deadline:
                requests, wake = self._sync.next(monotonic())
                tasks = [task for task in tasks if not task.done()]
                tasks += [group.create_task(self._perform(request), name=request.kind) for request in requests]
                wake = min(wake, self._publish(), self._look_at_credentials())
                self._observe()
                if until():
                    break
                await self._wait(min(wake, deadline))
            await self._let_go(tasks)

    async def _let_go(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancel what is under way, a login only after a moment."""
        logins = {task for task in tasks if task.get_name() == Kind.LOGIN}
        for task in set(tasks) - logins:
            task.cancel()
        if logins:
            token = self._sync.token
            await asyncio.wait(logins, timeout=LOGIN_SECONDS)
            self._is_token_unused = self._sync.token is not token
        for task in logins:
            task.cancel()

    async def _wake_at_stop(self) -> None:
        await self._ctx.stop.wait()
        self._happened.set()

    async def _wait(self, wake: float) -> None:
        try:
            async with asyncio.timeout(None if wake == float("inf") else seconds_until(wake)):
                await self._happened.wait()
        except TimeoutError:
            pass
        self._happened.clear()

    # --- requests ---

    async def _perform(self, request: ProviderRequest) -> None:
        result = await self._provider.perform(request)
        if request.kind is Kind.LOGIN:
            self._redaction.know("", self._provider.secrets_to_hide())
        if isinstance(result, Reading):
            self._redaction.know(request.secret, [dict(result.value)])
        if isinstance(result, Failure):
            text = shortened(self._redaction.hide(result.text))
            result = replace(result, text=text)
        self._sync.done(request, result, monotonic())
        if request.kind is Kind.LOGIN and isinstance(result, Granted) and self._sync.token is not None:
            self._provider.adopt(self._sync.token.generation)
        if isinstance(result, Granted | Reading | float):
            self._save()
        self._tell(request, result)
        self._happened.set()

    def _tell(self, request: ProviderRequest, result: object) -> None:
        if self._metrics is not None:
            how = result.reason if isinstance(result, Failure) else OK
            self._metrics.requests.labels(request.kind, how).inc()
        log, about = self._ctx.log, {"secret": request.secret} if request.secret else {}
        if isinstance(result, Failure):
            text = f"cannot {_WORDS[request.kind]}{' ' + request.secret if request.secret else ''}: {result.text}"
            action = f"{request.kind}.failed"
            subject = request.secret or request.kind
            if self._is_news(subject, result.reason):
                log.warning(text, action=action, reason=result.reason, status=result.status, **about)
            return
        self._told.pop(request.secret or request.kind, None)
        if request.kind is Kind.LOGIN and isinstance(result, Granted):
            log.info("logged in", action="login.done", lasts_seconds=result.duration, renewable=result.renewable)
        elif isinstance(result, Reading) and result.lease:
            log.info("a secret was issued", action="secret.issued", lease_seconds=result.duration, **about)

    def _is_news(self, subject: str, reason: str) -> bool:
        """Whether a failure is to be logged: each subject by itself, what is new at once, what goes on now and then."""
        before, again_at = self._told.get(subject, ("", 0.0))
        if before == reason and monotonic() < again_at:
            return False
        self._told[subject] = (reason, monotonic() + SAID_AGAIN_SECONDS)
        return True

    def _take_over(self) -> None:
        """Go on with what a former run left. Whether its token lives is what the provider is asked first; while it is
        away nothing is given up.
        """
        if self._settings.notify and self._targets.is_untold:
            self._ctx.log.info("the app does not know of the last generation yet", action="notify.resumed")
            self._notifying.begin()
        left = self._handover.read()
        if left is None:
            return
        now, wall = monotonic(), wall_clock()
        secrets = self._handover.secrets(left, now, wall)
        duration = left.token_duration
        rest = None if duration is None else min(duration, max(1.0, left.token_granted + duration - wall))
        generation = self._sync.restore(Granted(rest, renewable=left.token_renewable), secrets, now)
        self._provider.adopt(generation, left.token)
        self._redaction.know("", [left.token])
        for name, secret in secrets.items():
            self._redaction.know(name, [dict(secret.value or {})])
        self._ctx.log.info("went on with the leases of a former run", action="handover.taken", secrets=len(secrets))

    def _save(self) -> None:
        token = self._sync.token
        if token is None:
            return
        try:
            self._handover.write(self._sync, self._provider.token(token.generation), monotonic(), wall_clock())
        except OSError as error:
            message = f"cannot write {self._settings.handover_file}: {error.strerror}; a restart issues anew"
            self._ctx.log.warning(message, action="handover.failed", every_seconds=60.0)

    def _look_at_credentials(self) -> float:
        """While a login is refused, look whether its files changed. Returns when to look again."""
        if not self._sync.is_login_failing:
            self._credentials = None
            return float("inf")
        seen = self._provider.credentials()
        if self._credentials is not None and seen != self._credentials:
            self._sync.credentials_changed(monotonic())
        self._credentials = seen
        return monotonic() + FILES_LOOKED_AT_SECONDS

    # --- publishing ---

    def _publish(self) -> float:
        """Publish what changed. Returns when to try again."""
        changed, now = self._sync.changed(), monotonic()
        if not changed and now < self._again_at:
            return self._again_at
        if (wait := max(self._write_at, self._starts_at(now), self._together_at(changed, now))) > now:
            return wait
        self._changed_at = float("inf")
        values = {name: secret.value for name, secret in self._sync.secrets.items() if secret.value is not None}
        try:
            self._recover()
            made = self._targets.publish(values)
        except (OSError, Permanent) as error:
            return self._cannot_write(error)
        self._faults = {name: self._redaction.hide(text) for name, text in made.faults.items()}
        self._write_fault = ""
        self._again_at = now + FAULTY_AGAIN_SECONDS if made.faults else float("inf")
        for name, text in self._faults.items():
            if self._is_news(f"file of {name}", text):
                self._ctx.log.error(f"cannot write {name}: {text}", action="secret.unwritable", secret=name)
        self._published_once |= set(values) - set(made.faults)
        if made.folders:
            if self._metrics is not None:
                self._metrics.published.inc()
            self._ctx.log.info("published", action="generation.published", folders=made.folders, secrets=changed)
        self._sync.published(changed)
        if made.folders and self._targets.is_untold:
            self._notifying.begin()
        elif self._notifying.is_idle:
            self._sync.announced()
        if changed:
            self._happened.set()
        return self._again_at

    def _together_at(self, changed: list[str], now: float) -> float:
        """Return when what changed is published at the latest, while others are still being read."""
        if not changed or not self._sync.is_reading:
            return 0.0
        self._changed_at = min(self._changed_at, now)
        return self._changed_at + TOGETHER_SECONDS

    def _recover(self) -> None:
        """Put the folders in order once, before the first writing. Raises Permanent, OSError."""
        if not self._recovered:
            self._targets.recover()
            self._recovered = True

    def _starts_at(self, now: float) -> float:
        """Return when the first generation may be published: when every secret was tried, so that it is a whole one.
        Optional ones are waited for only a moment, and nothing is waited for while the provider is away.
        """
        if self._published_once:
            return 0.0
        if self._sync.is_suspect:
            return float("inf")
        new = [secret for secret in self._sync.secrets.values() if secret.value is None and secret.fault is None]
        if not new or self._sync.token_fault() is not None or self._sync.is_away:
            return 0.0
        if any(secret.spec.required for secret in new):
            return float("inf")
        self._required_at = min(self._required_at, now)
        return self._required_at + OPTIONAL_SECONDS

    def _cannot_write(self, error: OSError | Permanent) -> float:
        if self._metrics is not None:
            self._metrics.publish_failures.inc()
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        message = f"cannot write the files: {reason}; the former ones stay"
        self._ctx.log.error(message, action="generation.failed", every_seconds=30.0)
        self._write_fault = reason
        self._write_at = monotonic() + WRITE_RETRY_SECONDS
        return self._write_at

    # --- notifying ---

    def _tried_to_notify(self) -> None:
        self._sync.announced()
        self._happened.set()

    def _log_notification(self, step: StepOptions, outcome: Outcome, is_over: bool) -> None:  # noqa: FBT001  # a listener
        if self._metrics is not None:
            self._metrics.notifications.labels("ok" if outcome.ok else "failed").inc()
        log, how = self._ctx.log, type(step).__name__.lower()
        if outcome.ok:
            log.info("notified the app", action="notify.done", step=how)
            return
        text = f"cannot notify the app: {self._redaction.hide(outcome.detail)}"
        if is_over:
            log.error(f"{text}; it is not tried again", action="notify.given_up", step=how)
        else:
            log.warning(text, action="notify.failed", step=how, every_seconds=30.0)

    # --- what is seen, and the end ---

    def _observe(self) -> None:
        health, now = self._ctx.health, monotonic()
        unready = self._sync.unready(now) | {name: f"cannot be written: {text}" for name, text in self._faults.items()}
        if self._write_fault:
            unready["the files"] = f"cannot be written: {self._write_fault}"
        if unready:
            reason = "; ".join(f"{name} {text}" for name, text in sorted(unready.items()))
            health.set("secrets", State.FAILING, self._redaction.hide(reason))
        else:
            health.set("secrets", State.OK)
        if self._metrics is not None:
            self._metrics.unready.set(len(unready))
            measure(self._metrics, self._sync, now, wall_clock())
        fault = self._sync.token_fault()
        state = State.OK if fault is None else State.DEGRADED
        health.set("provider", state, "" if fault is None else f"{fault.reason}: {fault.text}")
        if self.is_complete and not health.started:
            health.mark_started()
            self._ctx.log.info("every required secret is written", action="start.done")

    def status(self) -> dict[str, Any]:
        """Return what /status shows: no value of a secret."""
        files = {"fault": self._write_fault or None}
        return described(self._sync, monotonic(), self._faults) | {"files": files}

    async def refresh(self) -> dict[str, object]:
        """Read everything that has no lease now (POST /refresh)."""
        self._sync.refresh(monotonic())
        self._happened.set()
        return {"refreshing": sorted(self._sync.secrets)}

    async def end(self) -> None:
        """Leave: a native sidecar's app is gone, so what was issued for it is taken back."""
        native = self._settings.lifecycle is PodLifecycle.NATIVE
        if native and self._sync.token is not None:
            await self.take_back()
            self._handover.remove()
        elif self._is_token_unused and not self._settings.handover_file:
            await self.take_back()
        if native and self._settings.remove_files_on_stop:
            try:
                self._targets.remove()
            except (OSError, Permanent) as error:
                self._ctx.log.warning(f"cannot remove the files: {error}", action="stop.not_removed")
        self._provider.close()

    async def take_back(self) -> None:
        """End the tokens, and their leases with them. Of a token that was given to us only the leases. Waits a moment
        only.
        """
        requests = self._sync.take_back(given=not self._provider.revokes)
        if self._settings.lifecycle is PodLifecycle.ORDINARY and self._is_token_unused:
            requests = requests[-1:]  # the app may still use what the others gave
        if not requests:
            return
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                outcomes = await asyncio.gather(*map(self._provider.perform, requests))
        except TimeoutError:
            text = f"no answer in {REVOKE_SECONDS:g} s"
        else:
            text = "; ".join({one.text or one.reason: None for one in outcomes if isinstance(one, Failure)})
        if text:
            message = f"cannot revoke what was issued: {text}; it ends by itself"
            self._ctx.log.warning(message, action="stop.not_revoked")
        else:
            self._ctx.log.info("revoked what was issued", action="stop.revoked", count=len(requests))

    def why_not(self) -> tuple[OnceStatus, str]:
        """Return how --once ends without success, and why."""
        named = {"the login": self._sync.token_fault()}
        named |= {name: secret.fault for name, secret in self._sync.secrets.items()}
        known = [fault for fault in named.values() if fault is not None]
        texts = [f"{name}: {fault.text} ({fault.reason})" for name, fault in named.items() if fault is not None]
        unwritten = [f"{name}: {text}" for name, text in self._faults.items()]
        unwritten += [f"the files: {self._write_fault}"] if self._write_fault else []
        text = "; ".join(dict.fromkeys(texts + unwritten)) or "no answer in time"
        final = any(fault.reason not in TRANSIENT for fault in known) or bool(unwritten)
        return (OnceStatus.REFUSED if final else OnceStatus.TOO_LATE), text


_WORDS = {
    Kind.LOGIN: "log in",
    Kind.RENEW_TOKEN: "renew the token",
    Kind.LOOKUP_TOKEN: "look the token up",
    Kind.REVOKE_TOKEN: "revoke the old token",
    Kind.REVOKE: "revoke the lease of",
    Kind.READ: "read",
    Kind.RENEW: "renew the lease of",
    Kind.LOOKUP: "look up the lease of",
    Kind.HEALTH: "reach the provider",
}


async def main(settings: SecretSyncSettings, ctx: Context) -> None:
    """Run until the stop is requested."""
    agent = SecretSync(settings, ctx, Parts(provider_of(settings), Targets(settings)), SecretSyncMetrics(ctx.metrics))
    ctx.admin.status(agent.status)
    ctx.admin.trigger("refresh", agent.refresh)
    await agent.run()
    await agent.end()


async def once(settings: SecretSyncSettings, ctx: Context) -> int:
    """Write every required secret, and end: for an init container. The leases are left for the sidecar."""
    provider = provider_of(settings)
    agent = SecretSync(settings, ctx, Parts(provider, Targets(settings)))
    await agent.run(lambda: agent.is_complete, monotonic() + settings.start_deadline_seconds)
    if not settings.handover_file and not (agent.is_complete and agent.holds_leases):  # nobody goes on with the token
        await agent.take_back()
    provider.close()
    if agent.is_complete:
        return OnceStatus.DONE
    status, text = agent.why_not()
    ctx.log.error(f"cannot write every required secret: {text}", action="once.failed", exit_status=int(status))
    return status


SIDECAR = Sidecar(
    name="secret-sync",
    settings=SecretSyncSettings,
    main=main,
    oneshots=(OneShot("once", "write every required secret and end: 0 written, 3 too late, 4 refused", once),),
    refuse_start=refuse_start,
    metrics=SecretSyncMetrics,
    check=findings,
    check_outside=findings_outside,
)
