"""What a container may do, by the level `restricted` of the Pod Security Standards, and where its image comes from."""

import re
from collections.abc import Callable, Iterator

from sidecars.lint.core.pod import Container, Pod, Role, items, mapping, number, text
from sidecars.lint.core.rule import Hit, Options, Rule, SetKey, Severity

_STANDARDS = "https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"
_IMAGES = "https://kubernetes.io/docs/concepts/containers/images/"
_APP = "containers:\n  - name: app\n    image: shop:1.2"


def _each(
    wrong: Callable[[Pod, Container], str], key: str = "", value: str = ""
) -> Callable[[Pod, Options], Iterator[Hit]]:
    """Return a look that asks for each container, and that offers to set a key of its security context."""

    def look(pod: Pod, _: Options) -> Iterator[Hit]:
        for one in pod.containers:
            if message := wrong(pod, one):
                path = (*one.path, "securityContext")
                yield Hit(path, f"{one.role} {one.name} {message}", (SetKey(path, key, value),) if key else ())

    return look


def _root(pod: Pod, one: Container) -> str:
    user = one.security.get("runAsUser", pod.security.get("runAsUser"))
    non_root = one.security.get("runAsNonRoot", pod.security.get("runAsNonRoot"))
    if user == 0:
        return "runs as root (runAsUser: 0)"
    return "" if non_root is True or number(user, 0) > 0 else "may run as root: runAsNonRoot is not set"


def _escalation(_: Pod, one: Container) -> str:
    return "" if one.security.get("allowPrivilegeEscalation") is False else "may gain privileges by setuid programs"


def _capabilities(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        given = mapping(one.security.get("capabilities"))
        if not {"ALL", "all"} & set(map(str, items(given.get("drop")))):
            path = (*one.path, "securityContext")
            edit = (
                SetKey((*path, "capabilities"), "drop", "[ALL]")
                if given
                else SetKey(path, "capabilities", "{drop: [ALL]}")
            )
            yield Hit(path, f"{one.role} {one.name} keeps the default capabilities", (edit,))


def _privileged(_: Pod, one: Container) -> str:
    return "is privileged: it owns the node" if one.security.get("privileged") is True else ""


def _writable_root(_: Pod, one: Container) -> str:
    return "" if one.security.get("readOnlyRootFilesystem") is True else "can write to its own root file system"


def _seccomp(pod: Pod, one: Container) -> str:
    profile = mapping(one.security.get("seccompProfile")) or mapping(pod.security.get("seccompProfile"))
    return "" if text(profile.get("type")) in {"RuntimeDefault", "Localhost"} else "runs without a seccomp profile"


def _added(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        added = [str(name) for name in items(mapping(one.security.get("capabilities")).get("add"))]
        if rights := sorted(set(added) - {"NET_BIND_SERVICE"}):
            setup = " (to redirect the pod's traffic)" if one.role is Role.INIT and "NET_ADMIN" in rights else ""
            yield Hit(
                (*one.path, "securityContext", "capabilities", "add"),
                f"{one.role} {one.name} has {', '.join(rights)}{setup}",
            )


def _latest(pod: Pod, _: Options) -> Iterator[Hit]:
    for one in pod.containers:
        image = one.image
        if not image or "@" in image:
            continue
        tag = re.search(r":([^/:]+)$", image)
        if tag is None or tag[1] == "latest":
            yield Hit((*one.path, "image"), f"image {image} of {one.name} has {'the tag latest' if tag else 'no tag'}")


RULES = (
    Rule(
        id="latest-tag",
        severity=Severity.WARNING,
        summary="An image has no tag, or the tag latest",
        why="Two replicas of one Deployment run two versions, a restart at night is an upgrade, and nobody can "
        "go back.",
        fix="Name a version, or better the digest (`image@sha256:...`).",
        source=_IMAGES,
        bad='containers:\n  - {name: app, image: "shop:latest"}',
        good='containers:\n  - {name: app, image: "shop:1.2"}',
        look=_latest,
    ),
    Rule(
        id="privileged",
        severity=Severity.ERROR,
        summary="A container is privileged",
        why="Whoever breaks into it has the node, and with it every pod and secret there. No sidecar needs that.",
        fix="Remove `privileged: true`; add the one capability that is needed, if any.",
        source=_STANDARDS,
        bad=f"{_APP}\n    securityContext: {{privileged: true}}",
        good=f"{_APP}\n    securityContext: {{privileged: false}}",
        look=_each(_privileged),
    ),
    Rule(
        id="runs-as-root",
        severity=Severity.WARNING,
        summary="A container may run as root",
        why="With root in the container one fault of the kernel or a mounted path is enough to be root on the "
        "node; clusters with the level `restricted` refuse the pod.",
        fix="Set `runAsNonRoot: true` and a numeric `runAsUser`, on the pod or on the container.",
        source=_STANDARDS,
        bad=_APP,
        good=f"{_APP}\n    securityContext: {{runAsNonRoot: true, runAsUser: 65532}}",
        look=_each(_root),
    ),
    Rule(
        id="privilege-escalation",
        severity=Severity.WARNING,
        summary="A container may gain privileges",
        why="A setuid program in the image makes root of anybody. The level `restricted` asks for this on each "
        "container: the pod's security context has no such field.",
        fix="Set `allowPrivilegeEscalation: false` on the container.",
        source=_STANDARDS,
        bad=_APP,
        good=f"{_APP}\n    securityContext: {{allowPrivilegeEscalation: false}}",
        look=_each(_escalation, "allowPrivilegeEscalation", "false"),
        fixable=True,
    ),
    Rule(
        id="capabilities-kept",
        severity=Severity.WARNING,
        summary="A container keeps the default capabilities",
        why="A sidecar needs none of the 14 that container runtimes give by default, raw sockets among them.",
        fix="Set `capabilities: {drop: [ALL]}` on the container.",
        source=_STANDARDS,
        bad=_APP,
        good=f"{_APP}\n    securityContext: {{capabilities: {{drop: [ALL]}}}}",
        look=_capabilities,
        fixable=True,
    ),
    Rule(
        id="capability-added",
        severity=Severity.WARNING,
        summary="A container gets more capabilities than the default",
        why="NET_ADMIN changes the network of the pod, SYS_PTRACE reads the memory of its neighbours (and "
        "their secrets): the level `restricted` allows NET_BIND_SERVICE alone.",
        fix="Do without: a port on localhost instead of redirected traffic, the same user instead of CAP_KILL.",
        source=_STANDARDS,
        bad=f"{_APP}\n    securityContext: {{capabilities: {{drop: [ALL], add: [NET_ADMIN]}}}}",
        good=f"{_APP}\n    securityContext: {{capabilities: {{drop: [ALL], add: [NET_BIND_SERVICE]}}}}",
        look=_added,
    ),
    Rule(
        id="no-seccomp-profile",
        severity=Severity.WARNING,
        summary="A container runs without a seccomp profile",
        why="Every system call of the kernel is open to it. The level `restricted` refuses the pod.",
        fix="Set `seccompProfile: {type: RuntimeDefault}`, on the pod or on the container.",
        source=_STANDARDS,
        bad=_APP,
        good=f"{_APP}\n    securityContext: {{seccompProfile: {{type: RuntimeDefault}}}}",
        look=_each(_seccomp, "seccompProfile", "{type: RuntimeDefault}"),
        fixable=True,
    ),
    Rule(
        id="writable-root",
        severity=Severity.INFO,
        summary="A container can write to its own root file system",
        why="What breaks in can leave its programs there, and what the container writes there fills the node's "
        "disk unseen.",
        fix="Set `readOnlyRootFilesystem: true`, and mount an emptyDir where the program has to write.",
        source="https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
        bad=_APP,
        good=f"{_APP}\n    securityContext: {{readOnlyRootFilesystem: true}}",
        look=_each(_writable_root),
    ),
)
