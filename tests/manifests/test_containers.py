"""What every container of ours has to say in every manifest, and must not: the rules that no schema knows."""

import re
from pathlib import Path

import pytest

from sidecars import __version__
from sidecars.declaration import declarations

from .rendered import IN_PODS, Container, Object, containers, pods

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""More than the level "restricted" of the Pod Security Standards asks for."""
DECLARED = declarations()
UNITS = {"m": 0.001, "Mi": 1.0, "": 1.0}
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def amount(text: str) -> float:
    """Cores or MiB of `20m`, `50Mi`, `1`."""
    found = re.fullmatch(r"(\d+)(m|Mi|)", text)
    assert found, f"write {text} in m or Mi"
    return int(found[1]) * UNITS[found[2]]


def ours(path: Path) -> list[Container]:
    return [one for one in containers(path) if one.sidecars]


def test_every_container_is_restricted_by_itself(manifest: Path) -> None:
    for one in containers(manifest):
        assert one.body["securityContext"] == RESTRICTED, one.name


def test_every_image_is_one_of_ours_in_this_version(manifest: Path) -> None:
    for one in containers(manifest):
        assert one.image in {*DECLARED, "sidecar", "devstack"}, one.name
        assert one.body["image"] == f"sidecars/{one.image}:{__version__}"
        assert one.body["imagePullPolicy"] == "IfNotPresent"


def test_requests_and_limits_are_small_and_bounded(manifest: Path) -> None:
    for one in containers(manifest):
        requests, limits = one.body["resources"]["requests"], one.body["resources"]["limits"]
        assert amount(requests["cpu"]) <= amount(limits["cpu"])
        assert amount(requests["memory"]) <= amount(limits["memory"])
        # The kubelet adds these up and holds them against the disk use of all containers: log-shipper/native says more.
        assert "ephemeral-storage" not in limits, one.name
    for one in ours(manifest):
        requests, limits = one.body["resources"]["requests"], one.body["resources"]["limits"]
        assert (amount(requests["cpu"]) <= 0.05, amount(requests["memory"]) <= 50) == (True, True), one.name
        assert limits["memory"] == max((IN_PODS[name].limits["memory"] for name in one.sidecars), key=amount)
        assert limits["cpu"] == max((IN_PODS[name].limits["cpu"] for name in one.sidecars), key=amount)
        assert amount(limits["cpu"]) <= 1.0
        assert requests["ephemeral-storage"] == "10Mi"


def ends(one: Container) -> bool:
    """Whether it is an init container that ends: what has no port, and what is told to do its part once."""
    return not DECLARED[one.sidecars[0]].serves or "--once" in one.body.get("args", ())


def test_what_stays_has_all_three_probes_on_its_admin_port(manifest: Path) -> None:
    for one in ours(manifest):
        if ends(one):
            continue
        port = DECLARED[one.sidecars[0]].port
        assert [found["containerPort"] for found in one.body["ports"]] == [port], one.name
        for probe, page in PROBES.items():
            assert one.body[probe]["httpGet"] == {"path": page, "port": port}, f"{one.name}: {probe}"
        startup = one.body["startupProbe"]
        assert startup["periodSeconds"] == 1, "the next container waits for it"
        assert startup["failureThreshold"] >= 60, "0.3 s of CPU time is half a minute where a busy node gives 10m"


def test_the_first_look_of_a_startup_probe_comes_when_it_can_succeed(manifest: Path) -> None:
    """Each one that fails is a Warning event, which people take for trouble."""
    for one in containers(manifest):
        if "startupProbe" in one.body:
            least = 2 if one.sidecars else 1  # by the CPU limit: 0.3 s of CPU time are 1.8 s with 200m
            assert one.body["startupProbe"]["initialDelaySeconds"] >= least, one.name


def test_what_ends_is_a_plain_init_container_without_probes(manifest: Path) -> None:
    ending = [one for one in ours(manifest) if ends(one)]
    for one in ending:
        assert one.init, one.name
        assert not one.body.keys() & {"restartPolicy", "lifecycle", "ports", *PROBES}, one.name


def test_probes_and_hooks_stand_only_where_the_api_server_takes_them(manifest: Path) -> None:
    for one in containers(manifest):
        if one.init and not one.native:
            assert not one.body.keys() & {"lifecycle", *PROBES}, one.name
        if not one.init:
            assert "restartPolicy" not in one.body, f"{one.name}: restartPolicy is for init containers"


def test_no_sidecar_has_a_hook_that_eats_the_grace_or_ends_it(manifest: Path) -> None:
    assert [one.name for one in ours(manifest) if "lifecycle" in one.body] == []


def test_log_shipper_is_the_first_native_sidecar_so_that_it_stops_last(manifest: Path) -> None:
    for pod in pods(manifest):
        inits = [Container(body, pod, init=True) for body in pod.get("initContainers", [])]
        order = [name for one in inits if one.native for name in one.sidecars]
        assert "log-shipper" not in order[1:], order


def test_native_sidecars_start_while_wait_for_waits(manifest: Path) -> None:
    for pod in pods(manifest):
        kinds = ["restartPolicy" in body for body in pod.get("initContainers", [])]
        assert kinds == sorted(kinds, reverse=True), "a plain init container stands before a native sidecar"


def test_nothing_has_a_token_for_the_api_server(manifest: Path) -> None:
    for pod in pods(manifest):
        assert pod["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod


def volumes(pod: Object) -> dict[str, Object]:
    return {found["name"]: found for found in pod.get("volumes", [])}


def test_every_volume_is_there_bounded_and_mounted_as_a_folder(manifest: Path) -> None:
    for pod in pods(manifest):
        for volume in volumes(pod).values():
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), f"{volume['name']} has no sizeLimit"
    for one in containers(manifest):
        for mount in one.body.get("volumeMounts", []):
            assert "subPath" not in mount, f"{one.name}: the kubelet never updates a subPath mount"
            assert mount["name"] in volumes(one.pod), f"{one.name} mounts {mount['name']}, which is not there"


def test_what_a_secret_is_rendered_into_is_memory(manifest: Path) -> None:
    for one in ours(manifest):
        mounted = [volumes(one.pod)[mount["name"]] for mount in one.body.get("volumeMounts", [])]
        secret = any(
            "secret" in found for volume in mounted for found in volume.get("projected", {}).get("sources", [])
        )
        rendered = [volume for volume in mounted if volume["name"] == "live"]
        assert not (secret and not rendered), f"{one.name}: the test does not know where it renders to"
        for volume in rendered:
            assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}


def test_containers_of_a_pod_share_a_network_and_no_port(manifest: Path) -> None:
    for pod in pods(manifest):
        bodies = [*pod.get("initContainers", []), *pod["containers"]]
        ports = [port for body in bodies for port in body.get("ports", [])]
        numbers = [port["containerPort"] for port in ports]
        assert len(numbers) == len(set(numbers)), numbers
        assert all(len(port["name"]) <= 15 for port in ports), (
            "the API server takes no longer name, and no schema says so"
        )


@pytest.mark.parametrize(("text", "value"), [("200m", 0.2), ("50Mi", 50), ("1", 1)])
def test_amounts_are_read(text: str, value: float) -> None:
    assert amount(text) == pytest.approx(value)
