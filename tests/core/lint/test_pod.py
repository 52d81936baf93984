"""Where pods are in an object, which part each container plays, quantities; on anything a manifest may hold."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecars.lint.core.inspect import ALL_RULES, inspect
from sidecars.lint.core.pod import Role, amount, pods_of, script_of
from sidecars.lint.core.rule import Options

SPEC = {"containers": [{"name": "app", "image": "a:1"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"kind": "Pod", "spec": SPEC}, ("spec",)),
        ({"kind": "Deployment", "spec": {"template": TEMPLATE}}, ("spec", "template", "spec")),
        ({"kind": "Rollout", "spec": {"template": TEMPLATE}}, ("spec", "template", "spec")),  # of Argo
        ({"kind": "Service", "spec": {"template": TEMPLATE}}, ("spec", "template", "spec")),  # of Knative
        ({"kind": "PodTemplate", "template": TEMPLATE}, ("template", "spec")),
        (
            {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}},
            ("spec", "jobTemplate", "spec", "template", "spec"),
        ),
        ({"kind": "List", "items": [{}, {"kind": "Pod", "spec": SPEC}]}, ("items", 1, "spec")),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)  # fmt: skip
def test_the_pod_of_every_kind_of_object_is_found(document: Any, path: tuple[str | int, ...]) -> None:
    found = list(pods_of(document))
    assert [(pod.path, pod.containers[0].name) for pod in found] == [(path, "app")]
    assert found[0].containers[0].path == (*path, "containers", 0)


@pytest.mark.parametrize(
    "document", [None, "text", [], {}, {"kind": "ConfigMap", "data": {}}, {"kind": "Service", "spec": {"ports": []}}]
)
def test_what_has_no_pod_has_none(document: Any) -> None:
    assert list(pods_of(document)) == []


def roles(containers: list[Any], inits: list[Any] = [], named: str = "") -> list[Role]:  # noqa: B006 (only read)
    annotations = {"kubectl.kubernetes.io/default-container": named} if named else {}
    document = {
        "kind": "Pod",
        "metadata": {"annotations": annotations},
        "spec": {"containers": containers, "initContainers": inits},
    }
    return [one.role for one in next(pods_of(document)).containers]


def test_the_part_of_a_container_follows_from_where_it_stands_and_what_it_runs() -> None:
    app, envoy = {"name": "web", "image": "web:1"}, {"name": "proxy", "image": "envoyproxy/envoy:v1"}
    assert roles([app, envoy]) == [Role.APP, Role.ORDINARY]
    assert roles([app, app]) == [Role.APP, Role.APP]
    assert roles([envoy]) == [Role.APP], "a pod that serves by it"
    assert roles([envoy, app], named="proxy") == [Role.APP, Role.APP], "kubectl's default container is the app"
    assert roles([app], [{**envoy, "restartPolicy": "Always"}, envoy]) == [Role.NATIVE, Role.INIT, Role.APP]


@pytest.mark.parametrize(
    ("written", "value"),
    [("100m", 0.1), (2, 2.0), ("64Mi", 2.0**26), ("1G", 1e9), ("1e3", 1000.0), ("1E", 1e18), (0.5, 0.5), ("12k", 12e3),
     ("", None), ("x", None), (True, None), (None, None), ({}, None), ("1mi", None)],
)  # fmt: skip
def test_quantities(written: object, value: float | None) -> None:
    assert amount(written) == (pytest.approx(value) if value is not None else None)


@pytest.mark.parametrize(
    ("words", "script"),
    [(["sh", "-c", "a; b"], "a; b"), (["/bin/bash", "-euo", "pipefail", "-c", "x"], "x"), (["bash", "-ec", "x"], "x"),
     (["sh", "run.sh"], ""), (["server"], ""), ([], ""), (["sh"], "")],
)  # fmt: skip
def test_scripts(words: list[str], script: str) -> None:
    assert script_of(words) == script


KEYS = st.sampled_from(
    ["kind", "spec", "template", "containers", "initContainers", "name", "image", "command", "args", "env", "ports",
     "volumes", "volumeMounts", "emptyDir", "securityContext", "capabilities", "drop", "add", "resources", "limits",
     "requests", "cpu", "memory", "lifecycle", "preStop", "exec", "startupProbe", "httpGet", "port", "restartPolicy",
     "items", "metadata", "annotations", "containerPort", "value", "podFailurePolicy", "rules", "onExitCodes"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Always", "envoy:1", "sh", "-c", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(containers=VALUES, inits=VALUES, rest=st.dictionaries(KEYS, VALUES, max_size=5), whole=VALUES)
def test_nothing_that_a_manifest_may_hold_is_too_strange(containers: Any, inits: Any, rest: Any, whole: Any) -> None:
    first = [{"name": "app", "image": "a"}]
    spec = {**rest, "containers": first + (containers if isinstance(containers, list) else []), "initContainers": inits}
    for document in (
        whole,
        {"kind": "Pod", "spec": spec},
        {"kind": "Job", "spec": {"template": {"spec": spec}, **rest}},
    ):
        inspect(document, ALL_RULES, Options(), lambda _path: ())
