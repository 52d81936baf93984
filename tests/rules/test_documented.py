"""The documents say what is true: what is generated is as `make docs` writes it, every setting has a meaning, and no
page names a setting or a metric that is not there.
"""

import re
from pathlib import Path

import pytest
import yaml

from scripts import docs
from sidecars.__main__ import find
from sidecars.declaration import declarations, names
from sidecars.runtime.settings.fields import fields_of
from sidecars.runtime.settings.load import Basics, load
from tests.rules import agents
from tests.rules.conftest import Fleet
from tests.support.processes import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README_LINES = 150
RUNTIME_METRICS = {"task_restarts", "grace_overruns"}
"""Of the runtime: made when there is something to count, or a task that could crash."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def settings_of(name: str) -> type[Basics]:
    return find(name).settings


def documented_metrics(name: str) -> set[str]:
    return {metric for metric, _, _ in docs.metric_rows(find(name))}


def metrics_of_the_runtime(name: str) -> set[str]:
    return {f"sidecar_{name.replace('-', '_')}_{what}_total" for what in RUNTIME_METRICS}


def metrics_in(text: str, name: str) -> set[str]:
    """The metrics of a sidecar that a text names; a name that ends with `_` or `_*` stands for several."""
    return set(re.findall(rf"\bsidecar_{name.replace('-', '_')}_[a-z0-9_]*[a-z0-9]\b(?!_?\*)", text))


def test_there_are_sidecars_to_look_at() -> None:
    assert "log-shipper" in names()


@pytest.mark.parametrize("name", names())
def test_every_setting_says_what_it_is(name: str) -> None:
    silent = [field.name for field in fields_of(settings_of(name)) if not field.about.get("description")]
    assert not silent, f"settings without a description in their Meta: {silent}"


@pytest.mark.parametrize(("page", "text"), [pytest.param(*pair, id=name_of(pair[0])) for pair in docs.pages().items()])
def test_what_is_generated_is_as_make_docs_writes_it(page: Path, text: str) -> None:
    assert page.exists(), "run `make docs`"
    assert text_of(page) == text, "run `make docs`"


def test_a_page_that_was_changed_by_hand_is_seen() -> None:
    page = docs.DOCS / "reference" / "wait-for.md"
    assert docs.pages()[page] != text_of(page).replace("WAIT_FOR_TARGETS", "WAIT_FOR_TARGET")


def test_every_generated_block_is_known_and_used() -> None:
    named = {name for page in PAGES for name in re.findall(r"<!-- written by `make docs`: (\S+) -->", text_of(page))}
    assert named == docs.BLOCKS.keys()


@pytest.mark.parametrize("name", agents.SERVING)
def test_the_reference_has_the_metrics_that_a_scrape_has(name: str, fleet: Fleet) -> None:
    scraped = re.findall(r"^# TYPE (sidecar_\S+) ", fleet(name).ask("/metrics")[1], re.MULTILINE)
    assert documented_metrics(name) == set(scraped) - metrics_of_the_runtime(name)


@pytest.mark.parametrize("name", names())
def test_alerts_and_pages_name_no_metric_that_is_not_there(name: str) -> None:
    known = documented_metrics(name) | metrics_of_the_runtime(name)
    invented = {alert.expr: metrics_in(alert.expr, name) - known for alert in declarations()[name].alerts}
    invented |= {name_of(page): metrics_in(text_of(page), name) - known for page in PAGES}
    assert not {where: what for where, what in invented.items() if what}


@pytest.mark.parametrize("name", names())
def test_pages_name_no_variable_that_is_no_setting(name: str) -> None:
    prefix = f"{name.replace('-', '_').upper()}_"
    known = {prefix + field.name.upper() for field in fields_of(settings_of(name))} | {f"{prefix}CONFIG"}
    known |= {f"{prefix}HASH", f"{prefix}CANDIDATE"}  # what a command of a step finds in its environment
    invented = {name_of(page): set(re.findall(rf"\b{prefix}[A-Z_]+\b", text_of(page))) - known for page in PAGES}
    assert not {where: what for where, what in invented.items() if what}


def settings_files() -> list[str]:
    blocks = (block for page in PAGES for block in re.findall(r"```yaml\n(.*?)```", text_of(page), re.DOTALL))
    return [block for block in blocks if block.startswith("watch:")]


@pytest.mark.parametrize("block", settings_files())
def test_a_settings_file_of_a_page_can_be_used(block: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(block, encoding="utf-8")
    load(settings_of("config-reloader"), "CONFIG_RELOADER_", {}, {"config": str(tmp_path / "settings.yaml")})


def test_there_are_settings_files_to_look_at() -> None:
    assert sum("watch" in yaml.safe_load(block) for block in settings_files()) >= 2


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    readme = text_of(ROOT / "README.md")
    assert len(readme.splitlines()) <= README_LINES
    assert re.findall(r"^make (\S+)", readme, re.MULTILINE)[:2] == ["demo", "test"]
