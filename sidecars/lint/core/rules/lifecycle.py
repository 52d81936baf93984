"""How containers start, wait for each other and end: Jobs that never end, hooks, graces, and init containers."""

import re
from collections.abc import Iterator

from sidecars.lint.core.pod import Container, Pod, Role, items, mapping, number, text
from sidecars.lint.core.rule import DropKey, Hit, MoveToInit, Options, Rule, SetKey, Severity

_NATIVE = "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/"
_KEP = "https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers"
_HOOKS = "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/"
_STOP = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"
_APP = "containers:\n  - {name: app, image: shop:1.2}"
_LOOP = re.compile(r"(?:^|[\s;&|(])(?:until|while)\s+(?!(?:IFS=\S*\s+)?read\b)", re.DOTALL)
_ASKS = re.compile(
    r"\b(nc|ncat|netcat|curl|wget|nslookup|dig|getent|pg_isready|mysqladmin|redis-cli|psql|ping|kubectl|test)\b|\["
)
_ENDS_IT = re.compile(
    r"\b(kill|pkill|killall|quitquitquit|shutdown|drain_listeners|poweroff)\b|\s-s\s+(quit|stop)\b|/quit\b|/shutdown\b"
)
_SLEEP = re.compile(r"\bsleep\s+([0-9]+)")
_SEVERAL = re.compile(r"[;&|\n]")
_LEAST_SECONDS = 2
"""What the kubelet leaves at least to a container whose turn to stop comes when the grace is over."""


def _never_ends(pod: Pod, _: Options) -> Iterator[Hit]:
    if not pod.ends:
        return
    for one in pod.containers:
        if one.role is Role.ORDINARY:
            yield Hit(
                one.path,
                f"{_kind(pod)} never ends: ordinary sidecar {one.name} ({_product(one)}) runs on after the app",
                (MoveToInit(one.path),),
            )


def _kind(pod: Pod) -> str:
    return f"the {pod.kind}" if pod.kind in {"Job", "CronJob"} else "the pod"


def _product(one: Container) -> str:
    return one.product.name if one.product else one.image


def _stuck(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        product = one.product
        if one.role is not Role.INIT or product is None:
            continue
        said = " ".join([*one.words, *(f"{name}={entry.get('value')}" for _, name, entry in one.environment)])
        if product.once is None or not product.once.search(said):
            yield Hit(
                one.path,
                f"init container {one.name} ({product.name}) does not end by itself, so the app never starts",
                (SetKey(one.path, "restartPolicy", "Always"),),
            )


def _restart_policy(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        given = one.body.get("restartPolicy")
        path = (*one.path, "restartPolicy")
        if given is not None and one.path[-2] == "initContainers" and given != "Always":
            yield Hit(path, f"restartPolicy of init container {one.name} is {text(given)!r}; it can only be Always")
        elif given is not None and one.path[-2] == "containers":
            yield Hit(
                path,
                f"restartPolicy stands on {one.name} in containers: only an init container becomes a sidecar by it",
                (MoveToInit(one.path),) if given == "Always" and len(items(pod.spec.get("containers"))) > 1 else (),
            )


def _pre_stop(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.sidecars:
        hook = mapping(mapping(one.body.get("lifecycle")).get("preStop"))
        if hook and _ENDS_IT.search(_said(hook)):
            path = (*one.path, "lifecycle", "preStop")
            yield Hit(path, f"preStop of {one.role} {one.name} ends it while the app still runs", (DropKey(path),))
        elif hook and one.role is Role.NATIVE and (seconds := _slept(hook)):
            path = (*one.path, "lifecycle", "preStop")
            yield Hit(
                path,
                f"preStop of native sidecar {one.name} sleeps {seconds} s of the grace that the app needs",
                (DropKey(path),),
            )


def _said(hook: object) -> str:
    found = mapping(hook)
    words = [text(word) for word in items(mapping(found.get("exec")).get("command"))]
    return " ".join([*words, text(mapping(found.get("httpGet")).get("path"))])


def _slept(hook: object) -> int:
    """Return the seconds that a hook sleeps."""
    built_in = number(mapping(mapping(hook).get("sleep")).get("seconds"), 0)
    found = _SLEEP.search(_said(hook))
    return built_in or (int(found[1]) if found and len(found[1]) < 6 else 0)


def _grace(pod: Pod, _: Options) -> Iterator[Hit]:
    slept = max((_slept(mapping(one.body.get("lifecycle")).get("preStop")) for one in pod.containers), default=0)
    natives = sum(one.role is Role.NATIVE for one in pod.containers)
    needed = slept + _LEAST_SECONDS * natives + (1 if slept or natives else 0)
    if pod.grace_seconds < needed:
        parts = [f"preStop sleeps {slept} s"] if slept else []
        parts += [f"{natives} native sidecars stop one after the other, {_LEAST_SECONDS} s each"] if natives else []
        where = "terminationGracePeriodSeconds" in pod.spec
        yield Hit(
            (*pod.path, "terminationGracePeriodSeconds") if where else pod.path,
            f"the grace is {pod.grace_seconds} s, and {' and '.join(parts)}: at least {needed} s are needed",
        )


def _busy_wait(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        script = one.script
        if one.role is Role.INIT and _LOOP.search(script) and _ASKS.search(script):
            key = "args" if one.body.get("args") else "command"
            yield Hit((*one.path, key), f"init container {one.name} waits in a shell loop, without a limit or a reason")


def _deaf_shell(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.staying:
        script = one.script.strip()
        if script and _SEVERAL.search(script) and not re.search(r"\b(exec|trap)\b", script):
            yield Hit(
                (*one.path, "command") if "command" in one.body else one.path,
                f"{one.role} {one.name} runs below a shell, which does not pass SIGTERM on",
            )


def _exit_codes(pod: Pod, _: Options) -> Iterator[Hit]:
    if not pod.sidecars:
        return
    job = mapping(mapping(pod.document.get("spec")).get("jobTemplate")) or pod.document
    at = ("spec", "jobTemplate", "spec") if job is not pod.document else ("spec",)
    rules = items(mapping(mapping(job.get("spec")).get("podFailurePolicy")).get("rules"))
    for index, rule in enumerate(rules):
        codes = mapping(mapping(rule).get("onExitCodes"))
        if codes and not codes.get("containerName"):
            yield Hit(
                (*at, "podFailurePolicy", "rules", index, "onExitCodes"),
                "podFailurePolicy looks at the exit codes of the sidecars, too: 143 and 137 are usual there",
            )


RULES = (
    Rule(
        id="job-never-ends",
        severity=Severity.ERROR,
        summary="An ordinary sidecar keeps a Job running",
        why="A Job is done when all containers have ended, and this one never does: the Job hangs until its "
        "deadline, and its next run is skipped or piles up.",
        fix="Make it a native sidecar: move it to `initContainers` with `restartPolicy: Always` (Kubernetes "
        "1.29 or newer).",
        source=_NATIVE,
        bad="""restartPolicy: Never
containers:
  - name: report
    image: report:1.2
  - name: logs
    image: fluent/fluent-bit:3.1""",
        good="""restartPolicy: Never
initContainers:
  - name: logs
    image: fluent/fluent-bit:3.1
    restartPolicy: Always
containers:
  - name: report
    image: report:1.2""",
        look=_never_ends,
        fixable=True,
    ),
    Rule(
        id="init-container-never-ends",
        severity=Severity.ERROR,
        summary="A program that never ends is a plain init container",
        why="The app starts when every init container has ended, so this pod stays in Init for ever. "
        "`restartPolicy: Always` was forgotten, or an old client or webhook has dropped it.",
        fix="Add `restartPolicy: Always`; or, for what should run once, the option with which it ends by itself.",
        source=_KEP,
        bad=f"""initContainers:
  - name: logs
    image: fluent/fluent-bit:3.1
{_APP}""",
        good=f"""initContainers:
  - name: logs
    image: fluent/fluent-bit:3.1
    restartPolicy: Always
{_APP}""",
        look=_stuck,
        fixable=True,
    ),
    Rule(
        id="restart-policy-misplaced",
        severity=Severity.ERROR,
        summary="`restartPolicy` of a container stands where it does nothing, or has another value than Always",
        why="Only an init container becomes a native sidecar, and only by `Always`. Elsewhere the API server "
        "refuses the pod, or drops the field and the container is an ordinary one.",
        fix="Move the container to `initContainers`, with `restartPolicy: Always`.",
        source=_KEP,
        bad="""containers:
  - name: app
    image: shop:1.2
  - name: logs
    image: fluent/fluent-bit:3.1
    restartPolicy: Always""",
        good="""initContainers:
  - name: logs
    image: fluent/fluent-bit:3.1
    restartPolicy: Always
containers:
  - name: app
    image: shop:1.2""",
        look=_restart_policy,
        fixable=True,
    ),
    Rule(
        id="pre-stop-ends-sidecar",
        severity=Severity.WARNING,
        summary="A preStop hook ends the sidecar, or spends the grace of its app",
        why="All preStop hooks run at once when the pod is deleted, before anything gets SIGTERM. One that "
        "ends a sidecar takes it from the app that still works (and a native one is started again); one that "
        "sleeps uses up the grace that all share. A native sidecar gets SIGTERM after the app, without any "
        "hook.",
        fix="Remove the hook: as a native sidecar it stops after the app anyway.",
        source=_HOOKS,
        bad=f"""initContainers:
  - name: proxy
    image: envoyproxy/envoy:v1.31
    restartPolicy: Always
    lifecycle:
      preStop: {{exec: {{command: [sh, -c, "curl -XPOST localhost:9901/quitquitquit"]}}}}
{_APP}""",
        good=f"""initContainers:
  - name: proxy
    image: envoyproxy/envoy:v1.31
    restartPolicy: Always
{_APP}""",
        look=_pre_stop,
        fixable=True,
    ),
    Rule(
        id="grace-too-short",
        severity=Severity.WARNING,
        summary="The termination grace period is shorter than the stop needs",
        why="The grace counts from the deletion and holds everything: preStop hooks, the app, and then the "
        "native sidecars one after the other. When it is over, what still runs gets 2 s and then SIGKILL: the "
        "last log lines are lost.",
        fix="Raise `terminationGracePeriodSeconds`: preStop, the app's own stop, and the stop of each sidecar add up.",
        source=_STOP,
        bad="""terminationGracePeriodSeconds: 10
containers:
  - name: app
    image: shop:1.2
    lifecycle: {preStop: {sleep: {seconds: 15}}}""",
        good="""terminationGracePeriodSeconds: 45
containers:
  - name: app
    image: shop:1.2
    lifecycle: {preStop: {sleep: {seconds: 15}}}""",
        look=_grace,
    ),
    Rule(
        id="busy-wait-init-container",
        severity=Severity.WARNING,
        summary="An init container waits in a shell loop",
        why="It waits for ever without saying for what, takes an open port for a server that works, and needs "
        "an image with a shell. Each pod that waits looks the same, so a wrong name is found by guessing.",
        fix="Use wait-for (`sidecar wait-for tcp://db:5432`): it has a limit, asks the protocol, and leaves "
        "the reason where `kubectl describe pod` shows it. Best is an app that can start without.",
        source="https://kubernetes.io/docs/concepts/workloads/pods/init-containers/",
        bad=f"""initContainers:
  - name: wait
    image: busybox:1.36
    command: [sh, -c, "until nc -z db 5432; do sleep 1; done"]
{_APP}""",
        good=f"""initContainers:
  - name: wait
    image: sidecars/wait-for:1.0
    args: [tcp://db:5432]
{_APP}""",
        look=_busy_wait,
    ),
    Rule(
        id="shell-swallows-sigterm",
        severity=Severity.WARNING,
        summary="A container runs its program below a shell",
        why="The shell is process 1 and passes no signal on: the program never learns of the stop, the pod "
        "takes its whole grace to end, and the last data are lost with SIGKILL.",
        fix="Start the program directly, or put `exec` before the last command of the script.",
        source=_STOP,
        bad="""containers:
  - name: app
    image: shop:1.2
    command: [sh, -c, "export MODE=prod; /app/server --port 8080"]""",
        good="""containers:
  - name: app
    image: shop:1.2
    command: [sh, -c, "export MODE=prod; exec /app/server --port 8080"]""",
        look=_deaf_shell,
    ),
    Rule(
        id="exit-codes-of-sidecars",
        severity=Severity.WARNING,
        summary="A podFailurePolicy does not name the container whose exit codes it means",
        why="Without `containerName` the codes of all containers count, those of native sidecars included. A "
        "sidecar that is stopped with 143 or 137 then fails a Job that has done its work.",
        fix="Set `onExitCodes.containerName` to the container that does the work.",
        source="https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy",
        bad="""apiVersion: batch/v1
kind: Job
metadata: {name: report}
spec:
  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [143]}}]}
  template:
    spec:
      restartPolicy: Never
      initContainers:
        - {name: logs, image: "fluent/fluent-bit:3.1", restartPolicy: Always}
      containers:
        - {name: report, image: "report:1.2"}""",
        good="""apiVersion: batch/v1
kind: Job
metadata: {name: report}
spec:
  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: report, operator: In, values: [143]}}]}
  template:
    spec:
      restartPolicy: Never
      initContainers:
        - {name: logs, image: "fluent/fluent-bit:3.1", restartPolicy: Always}
      containers:
        - {name: report, image: "report:1.2"}""",
        look=_exit_codes,
    ),
)
