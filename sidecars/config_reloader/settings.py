"""The settings of the config reloader, each declared once: type, unit, default and why. The steps are declared in
core/steps.py.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from sidecars.kit.notify.core.options import OnFailure, Signal, Webhook
from sidecars.kit.watch.backend import WatchBackend, WatchBackendSetting
from sidecars.runtime import Problem, Settings

from .core.messages import Initial
from .core.steps import Render, Step
from .core.steps_check import complaints, without_before


class ConfigReloaderSettings(Settings, frozen=True, kw_only=True):
    """Settings of the config reloader."""

    admin_port: int = 9102
    grace_seconds: Annotated[
        float, Meta(gt=0, description="Longest time from SIGTERM to the exit; nothing is waited for then.")
    ] = 5.0
    watch: Annotated[
        tuple[str, ...],
        Meta(
            description="Folders (mounted volumes or plain), files or globs to watch. Mount whole volumes: a `subPath` "
            "mount never updates.",
            examples=["/etc/nginx"],
        ),
    ] = ()
    quiet_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="A change is rolled out once the content stayed the same for so long.")
    ] = 1.0
    max_wait_seconds: Annotated[
        float, Meta(gt=0, le=86400, description="Content that never stays the same is rolled out after so long anyway.")
    ] = 10.0
    render: Annotated[
        Render | None,
        Meta(description="Make the app's files from the watched ones: copy, expand, template, decompress."),
    ] = None
    steps: Annotated[
        tuple[Step, ...],
        Meta(description="What to do with new content, in this order. A step is one key with its options."),
    ] = ()
    initial: Annotated[
        Initial,
        Meta(
            description="Notify the app of the content that is there at the start, when no state is known: `none`: no; "
            "`when-ready`: once the app is there; `always`: also when the state file knows the content."
        ),
    ] = Initial.NONE
    splay_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Spread the pods: wait a part of this, always the same for a pod (by POD_NAME or host name).",
        ),
    ] = 0.0
    state_file: Annotated[
        str,
        Meta(
            description="Remembers what was applied, so that a restart notifies nobody twice and misses nothing. On a "
            "writable volume."
        ),
    ] = ""
    resync_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="Take a snapshot this often without any event (network file systems)."),
    ] = 30.0
    poll_seconds: Annotated[
        float, Meta(ge=0.05, le=300, description="Take a snapshot this often while events cannot be had.")
    ] = 2.0
    watch_backend: WatchBackendSetting = WatchBackend.AUTO
    max_files: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Files watched at most, over all of `watch`. Above it no change is rolled out, and /readyz "
            "fails.",
        ),
    ] = 10_000
    max_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=16 << 30,
            description="Their size at most, together. All of it is read for each snapshot, and with `render` held in "
            "memory. Above it no change is rolled out, and /readyz fails.",
        ),
    ] = 256 << 20
    unready_when_rejected: Annotated[
        bool,
        Meta(
            description="/readyz fails while the newest content is rejected or given up: the pod leaves its Services."
        ),
    ] = False
    webhook_url: Annotated[
        tuple[str, ...],
        Meta(
            description="Without `steps`: send a request to each of these.",
            examples=["http://127.0.0.1:9090/-/reload"],
        ),
    ] = ()
    signal: Annotated[str, Meta(description="Without `steps`: send this signal to `process`.", examples=["SIGHUP"])] = (
        ""
    )
    process: Annotated[str, Meta(description="Process that `signal` is for: its name or part of its command line.")] = (
        ""
    )
    webhook_method: Annotated[str, Meta(pattern="^[A-Za-z]{1,20}$", description="Method for `webhook_url`.")] = "POST"
    webhook_status_code: Annotated[
        str, Meta(description="Status that means success for `webhook_url`, such as 200. Unset: any 2xx.")
    ] = ""
    webhook_retries: Annotated[
        int | None,
        Meta(
            description="Attempts for `webhook_url` in all, 10 s apart, as with configmap-reload; negative: until it "
            "works. Unset: until it works, after pauses that grow from 0.25 s."
        ),
    ] = None
    volume_dir: Annotated[tuple[str, ...], Meta(description="The same as `watch`, under configmap-reload's name.")] = ()
    listen_address: Annotated[
        str,
        Meta(
            description="HOST:PORT of the admin endpoint, as configmap-reload's `--web.listen-address`; wins over "
            "admin_host and admin_port."
        ),
    ] = ""
    telemetry_path: Annotated[
        str, Meta(description="configmap-reload's `--web.telemetry-path`; here it can only be /metrics.")
    ] = "/metrics"
    pod_name: Annotated[str, Meta(description="For `splay_seconds`; from POD_NAME when unset, else the host name.")] = (
        ""
    )

    def __post_init__(self) -> None:
        """Let `listen_address` win."""
        if found := address(self.listen_address):
            msgspec.structs.force_setattr(self, "admin_host", found[0])
            msgspec.structs.force_setattr(self, "admin_port", found[1])

    @property
    def watched(self) -> tuple[str, ...]:
        """Return all that is watched, each once."""
        return tuple(dict.fromkeys((*self.watch, *self.volume_dir)))

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Return the steps, or those that the simple settings mean."""
        if self.steps:
            return self.steps
        found = [Step(signal=Signal(signal=self.signal or "SIGHUP", process=self.process))] if self._signals else []
        attempts = self.webhook_retries
        hooks = [
            Webhook(
                url=url,
                method=self.webhook_method,
                expect_status=(self.webhook_status_code or "2xx",),
                retries=None if attempts is None or attempts < 0 else max(attempts - 1, 0),
                retry_seconds=None if attempts is None else _RETRY_SECONDS,
                on_failure=OnFailure.CONTINUE,
            )
            for url in self.webhook_url
        ]
        return (*found, *(Step(webhook=hook) for hook in hooks))

    @property
    def _signals(self) -> bool:
        return bool(self.signal or self.process)

    def problems(self) -> Iterable[Problem]:
        """Yield what single fields cannot say."""
        if not self.watched:
            yield Problem("watch", "nothing to watch is named", "set it to a folder, such as /etc/nginx")
        if not all(path.strip() for path in self.watched):
            yield Problem("watch", "one of the paths is empty", "name a folder, a file or a glob")
        if self.steps and (self._signals or self.webhook_url):
            yield Problem(
                "steps", "both `steps` and signal, process or webhook_url are given", "write them all as steps"
            )
        if not self.all_steps and self.render is None:
            yield Problem(
                "steps", "there is nobody to notify", "set steps, or webhook_url, or signal and process, or render"
            )
        if self.signal and not self.process:
            yield Problem("process", "`signal` is given and no process", "name it, such as --process nginx")
        if self.listen_address and address(self.listen_address) is None:
            yield Problem("listen_address", "it is not HOST:PORT", "write it as :9533 or 127.0.0.1:9533")
        if self.telemetry_path != "/metrics":
            yield Problem("telemetry_path", "metrics are at /metrics here", "leave it out")
        if self.render is not None and not self.render.output.startswith("/"):
            yield Problem("render", "`output` is not an absolute path", "set it to the folder that the app reads")
        for number, step in enumerate(self.all_steps):
            for path, message, remedy in complaints(step, renders=self.render is not None):
                where = f"steps[{number}].{path}".rstrip(".") if self.steps else _SIMPLE.get(path, path)
                yield Problem(where, message, remedy)
        for number, message, remedy in without_before(self.all_steps):
            yield Problem(f"steps[{number}].confirm", message, remedy)

    @classmethod
    def fallbacks(cls, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Return the pod's name from the downward API."""
        return {"pod_name": (environ["POD_NAME"], "POD_NAME")} if environ.get("POD_NAME") else {}


def address(text: str) -> tuple[str, int] | None:
    """Return host and port of `:9533` or `127.0.0.1:9533`, in Go's form; None when it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        return None
    return host.strip("[]") or "::", int(port)


_RETRY_SECONDS = 10.0
"""configmap-reload's pause between two attempts."""
_SIMPLE = {
    "webhook.url": "webhook_url",
    "webhook.method": "webhook_method",
    "webhook.expect_status": "webhook_status_code",
    "signal.signal": "signal",
    "signal": "process",
}
"""Where the simple settings say what a step's key does."""
