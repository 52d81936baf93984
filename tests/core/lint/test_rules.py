"""Each rule by its own two examples, "
"which its page shows: it finds something in the bad one, and nothing in the good.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecars.lint.core.inspect import ALL_RULES, SUPPRESSION, inspect
from sidecars.lint.core.rule import Options, Rule
from sidecars.lint.core.rules import RULES

each = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def document(example: str) -> Any:
    """The object of an example, which is whole or the spec of a pod."""
    found = yaml.safe_load(example)
    return found if "kind" in found else {"kind": "Pod", "metadata": {"name": "example"}, "spec": found}


def messages(example: str, rule: Rule, options: Options | None = None) -> list[str]:
    found = inspect(document(example), [rule], options or Options(), lambda _path: ())
    return [one.hit.message for one in found.diagnostics]


@each
def test_a_rule_finds_its_bad_example_and_not_its_good_one(rule: Rule) -> None:
    assert len(messages(rule.bad, rule)) >= 1
    assert messages(rule.good, rule) == []


@each
def test_the_good_example_is_the_bad_one_mended_and_has_no_other_error(rule: Rule) -> None:
    known = {one.rule.id for one in inspect(document(rule.bad), RULES, Options(), lambda _path: ()).diagnostics}
    mended = inspect(document(rule.good), RULES, Options(), lambda _path: ()).diagnostics
    assert {one.rule.id for one in mended if one.rule.severity == "error"} <= known - {rule.id}


@each
def test_a_rule_says_by_its_edits_whether_it_can_be_fixed(rule: Rule) -> None:
    found = inspect(document(rule.bad), [rule], Options(), lambda _path: ()).diagnostics
    assert any(one.hit.edits for one in found) == rule.fixable


def test_every_rule_has_an_id_of_its_own_a_reason_a_fix_and_a_source() -> None:
    assert len(RULES) >= 25
    assert len({rule.id for rule in ALL_RULES}) == len(ALL_RULES)
    for rule in ALL_RULES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
        assert rule.source.startswith("https://"), rule.id
        assert (rule.why[-1], rule.fix[-1]) == (".", "."), rule.id
        assert not rule.summary.endswith("."), rule.id
    assert SUPPRESSION not in RULES


EDGES = yaml.safe_load(Path(__file__).with_name("edges.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge['rule']}: {(edge['finds'] or ['nothing'])[0][:60]}")
def test_the_edges_of_a_rule(edge: Any) -> None:
    pod: Any = {"spec": edge["pod"]}
    kind = edge.get("kind", "Pod")
    whole = {
        "Pod": pod,
        "Job": {"spec": {"template": pod}},
        "CronJob": {"spec": {"jobTemplate": {"spec": {"template": pod}}}},
    }[kind]
    chosen = [one for one in RULES if one.id == edge["rule"]]
    assert chosen
    result = inspect({"kind": kind, **whole}, chosen, Options(), lambda _path: ())
    assert [one.hit.message for one in result.diagnostics] == edge["finds"]


def test_what_a_user_chooses_counts() -> None:
    spec = (
        "containers: [{name: a, image: a:1, resources: {requests: {cpu: 1}}}, "
        "{name: b, image: 'envoy:1', resources: {requests: {cpu: 600m}}}]"
    )
    by_id = {rule.id: rule for rule in RULES}
    assert messages(spec, by_id["sidecars-outweigh-app"]) == []
    assert len(messages(spec, by_id["sidecars-outweigh-app"], Options(sidecar_share_percent=50))) == 1
    assert len(messages(spec, by_id["too-many-sidecars"], Options(most_sidecars=0))) == 1
