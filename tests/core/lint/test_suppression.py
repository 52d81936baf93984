"""What a manifest can say of findings that are meant: by a comment, by an annotation, and never without a reason."""

from typing import Any

import pytest

from sidecars.lint.core.inspect import inspect
from sidecars.lint.core.rule import Options
from sidecars.lint.core.rules import RULES
from sidecars.lint.core.suppression import ANNOTATION, in_comment

KNOWN = ["latest-tag", "runs-as-root"]


@pytest.mark.parametrize(
    ("line", "rules", "reason", "mistake"),
    [
        ("image: a # sidecar-lint: ignore latest-tag: my laptop", {"latest-tag"}, "my laptop", ""),
        (
            "# sidecar-lint: ignore latest-tag, runs-as-root: both: meant",
            {"latest-tag", "runs-as-root"},
            "both: meant",
            "",
        ),
        ("# sidecar-lint: ignore latest-tag", set(), "", "it gives no reason; write `ignore latest-tag: reason`"),
        ("# sidecar-lint: ignore no-such: x", set(), "x", "there is no rule no-such"),
        ("# sidecar-lint: ignore", set(), "", "it names no rule; write `ignore RULE: reason`"),
    ],
)
def test_a_comment(line: str, rules: set[str], reason: str, mistake: str) -> None:
    found = in_comment(line, KNOWN)
    assert found
    assert (set(found.rules), found.reason, found.mistake) == (rules, reason, mistake)


def test_other_comments_say_nothing() -> None:
    assert in_comment("image: a # lint", KNOWN) is None


def document(annotation: str, *, on_object: bool) -> Any:
    metadata = {"annotations": {ANNOTATION: annotation}}
    template = {"metadata": {} if on_object else metadata, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    return {
        "kind": "Deployment",
        "metadata": {"name": "d", **(metadata if on_object else {})},
        "spec": {"template": template},
    }


@pytest.mark.parametrize("on_object", [True, False])
def test_an_annotation_counts_for_the_whole_pod(*, on_object: bool) -> None:
    text = "latest-tag: pinned by the mirror; runs-as-root: port 53"
    found = inspect(document(text, on_object=on_object), RULES, Options(), lambda _path: ())
    assert {(one.rule.id, reason) for one, reason in found.suppressed} == {
        ("latest-tag", "pinned by the mirror"),
        ("runs-as-root", "port 53"),
    }
    assert not {"latest-tag", "runs-as-root"} & {one.rule.id for one in found.diagnostics}


def test_one_without_a_reason_hides_nothing_and_is_a_finding_itself_once() -> None:
    found = inspect(
        document("latest-tag", on_object=True), RULES, Options(), lambda _path: ("# sidecar-lint: ignore x",)
    )
    ids = [one.rule.id for one in found.diagnostics]
    assert "latest-tag" in ids
    assert ids.count("suppression-unusable") == 2  # the annotation and the comment, each once
    assert found.suppressed == ()
