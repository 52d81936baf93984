"""Every YAML that the documents show is a part of a manifest that is kept, rendered and read here; and every link leads
somewhere.
"""

import re
import textwrap
from pathlib import Path

import pytest

from sidecars.__main__ import find
from sidecars.declaration import names
from sidecars.runtime.life.run import read_arguments
from sidecars.runtime.settings.load import load

from .rendered import K8S, ROOT, SHOWN, SNIPPETS, Container, Object, name_of, shown, template
from .test_settings import environment

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    K8S / "README.md",
    ROOT / "tests" / "support" / "README.md",
    *(
        path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "lint"
    ),  # tests/core/lint has those
]
BLOCK = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(params=SHOWN, ids=name_of)
def snippet(request: pytest.FixtureRequest) -> list[Object]:
    if request.param.is_dir():
        request.getfixturevalue("kustomize")
    return shown(request.param)


def ours(found: list[Object]) -> list[Container]:
    """The containers of ours in it."""
    specs = [template(one)["spec"] for one in found if template(one)]
    every = (
        Container(body, spec, init=key == "initContainers")
        for spec in specs
        for key in ("initContainers", "containers")
        for body in spec.get(key, [])
    )
    return [one for one in every if sidecar_of(one) in names() and not one.body["image"].startswith("quay.io/")]


def sidecar_of(one: Container) -> str:
    """By its image; one of them has a validator in it."""
    return one.image.removesuffix("-nginx")


def test_a_sidecar_that_stays_gates_the_app_and_is_waited_for_on_a_busy_node(snippet: list[Object]) -> None:
    for one in ours(snippet):
        if find(sidecar_of(one)).admin:
            assert one.native, one.name
            assert one.body["startupProbe"]["failureThreshold"] >= 30, "3 attempts are too few with 10m of CPU"
            assert one.body["startupProbe"]["initialDelaySeconds"] >= 2, "a look that must fail is a Warning event"


def test_the_settings_of_every_sidecar_can_be_used(snippet: list[Object], tmp_path: Path) -> None:
    known = {found["metadata"]["name"]: found["data"] for found in snippet if found["kind"] == "ConfigMap"}
    for one in ours(snippet):
        sidecar = find(sidecar_of(one))
        line = read_arguments([sidecar], one.body.get("args", []))
        assert not line.problems
        if path := line.flags.get("config"):  # on a volume with a ConfigMap, whose file is there under its name
            file = tmp_path / Path(str(path)).name
            file.write_text(next(data[file.name] for data in known.values() if file.name in data), encoding="utf-8")
            line.flags["config"] = str(file)
        load(sidecar.settings, sidecar.prefix, environment(one, known), line.flags)
    for data in known.values():
        for file, text in data.items():
            if (name := file.removesuffix(".yaml")) in names():
                sidecar = find(name)
                (tmp_path / file).write_text(text, encoding="utf-8")
                load(sidecar.settings, sidecar.prefix, {}, {"config": str(tmp_path / file)})


def kept() -> list[str]:
    """The lines of every manifest of k8s/, without indentation of the whole."""
    return [path.read_text(encoding="utf-8") for path in sorted(K8S.rglob("*.yaml"))]


def blocks() -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
            # Whoever has the components elsewhere names them otherwise.
            text = textwrap.dedent(match[2]).replace("../sidecars/k8s/", "../../")
            found.append((f"{name_of(document)}: {text.strip().splitlines()[0]}", text))
    return found


def stands_in(block: str, manifest: str) -> bool:
    """Whether the lines stand there one after the other, all indented alike."""
    first = block.splitlines()[0]
    indents = {match[1] for match in re.finditer(rf"^( *){re.escape(first)}$", manifest, re.MULTILINE)}
    return any(textwrap.indent(block, indent) in f"{manifest.rstrip()}\n" for indent in indents)


@pytest.mark.parametrize("block", [pytest.param(text, id=name) for name, text in blocks()])
def test_every_yaml_that_is_shown_stands_in_a_manifest(block: str) -> None:
    assert any(stands_in(block, manifest) for manifest in kept()), (
        f"these lines are in no manifest of k8s/: put them into one, such as below k8s/snippets, and copy them\n{block}"
    )


def test_a_line_that_was_changed_by_hand_is_seen() -> None:
    (block, *_) = [text for _, text in blocks() if "failureThreshold: 60" in text]
    assert not any(stands_in(block.replace("Threshold: 60", "Threshold: 6"), manifest) for manifest in kept())


def prose(document: Path) -> str:
    """Its text without the blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_of_a_document_leads_to_a_file_and_a_heading_that_are_there(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), f"{name_of(document)} links to {target}, which is not there"
        assert not anchor or anchor in anchors(path), f"{name_of(document)} links to {target}: no such heading"


@pytest.mark.usefixtures("kustomize")
def test_the_workloads_of_the_page_get_what_they_ask_for() -> None:
    found = {one["metadata"]["name"]: template(one)["spec"] for one in shown(SNIPPETS / "workload") if template(one)}

    def inits(name: str) -> list[str]:
        return [one["name"] for one in found[name].get("initContainers", [])]

    assert inits("shop") == ["log-shipper", "config-reloader", "wait-for"]
    assert inits("report") == ["log-shipper"]
    assert inits("database") == []
    assert found["shop"]["terminationGracePeriodSeconds"] == found["report"]["terminationGracePeriodSeconds"] == 45
    images = [one["image"] for one in found["shop"]["initContainers"]]
    assert all(image.startswith("registry.example/sidecars/") for image in images)


@pytest.mark.usefixtures("kustomize")
def test_the_patch_for_openshift_leaves_the_choice_of_the_user_to_the_cluster() -> None:
    (shop,) = [
        template(one)["spec"]
        for one in shown(SNIPPETS / "openshift")
        if template(one) and one["metadata"]["name"] == "shop"
    ]
    assert shop["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    assert [one["name"] for one in shop["initContainers"]] == ["log-shipper", "config-reloader", "wait-for"]
    for container in shop["initContainers"]:
        assert container["securityContext"].keys().isdisjoint({"runAsUser", "runAsGroup"}), container["name"]
        assert container["securityContext"]["runAsNonRoot"], container["name"]
