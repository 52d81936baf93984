"""What a sidecar can be told and what it tells stands in the README: every setting, every metric, no other metric."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
import yaml

from sidecars.runtime.settings.load import load
from tests.rules import agents
from tests.rules.conftest import Fleet

README = agents.ROOT / "README.md"


def settings_of(name: str) -> Any:
    return importlib.import_module(f"sidecars.{name.replace('-', '_')}.agent").SIDECAR.settings


def description_of(annotation: Any) -> str | None:
    """The description in a field's msgspec.Meta."""
    metas = [meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return next((meta.description for meta in metas if meta.description), None)


def exposed_metrics(text: str) -> set[str]:
    """Names of our own metrics in a scrape; the process collector's are documented by Prometheus."""
    return {name for name in re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE) if name.startswith("sidecar_")}


def test_there_are_sidecars_to_look_at() -> None:
    assert "log-shipper" in agents.sidecar_names()


@pytest.mark.parametrize("name", agents.sidecar_names())
def test_every_setting_says_what_it_is(name: str) -> None:
    hints = get_type_hints(settings_of(name), include_extras=True)
    silent = [
        field.name for field in msgspec.structs.fields(settings_of(name)) if not description_of(hints[field.name])
    ]
    assert not silent, f"settings without a description in their Meta: {silent}"


@pytest.mark.parametrize("name", agents.sidecar_names())
def test_every_setting_is_in_the_readme(name: str) -> None:
    readme = README.read_text(encoding="utf-8")
    missing = [field.name for field in msgspec.structs.fields(settings_of(name)) if f"`{field.name}`" not in readme]
    assert not missing, f"not in README.md (`python -m sidecars reference {name}` prints the table): {missing}"


@pytest.mark.parametrize("name", agents.sidecar_names())
def test_the_readme_holds_the_reference_table_as_it_is_printed(name: str) -> None:
    command = [sys.executable, "-m", "sidecars", "reference", name]
    printed = subprocess.run(command, cwd=agents.ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert printed in README.read_text(encoding="utf-8"), (
        f"paste the output of `sidecar reference {name}` into README.md"
    )


@pytest.mark.parametrize("name", agents.SERVING)
def test_every_metric_is_in_the_readme(name: str, fleet: Fleet) -> None:
    readme = README.read_text(encoding="utf-8")
    missing = sorted(
        metric for metric in exposed_metrics(fleet[name].get("/metrics")[1]) if f"`{metric}`" not in readme
    )
    assert not missing, f"metrics that README.md does not name: {missing}"


@pytest.mark.parametrize("name", agents.SERVING)
def test_the_readme_names_no_metric_that_is_not_there(name: str, fleet: Fleet) -> None:
    prefix = f"sidecar_{name.replace('-', '_')}_"
    named = set(re.findall(rf"`({prefix}[a-z0-9_]+)`", README.read_text(encoding="utf-8")))
    invented = named - exposed_metrics(fleet[name].get("/metrics")[1])
    assert not invented, f"README.md names metrics that the sidecar does not have: {sorted(invented)}"


def yaml_blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", [block for block in yaml_blocks() if block.startswith("watch:")])
def test_a_settings_file_of_the_readme_can_be_used(block: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(block, encoding="utf-8")
    load(settings_of("config-reloader"), "CONFIG_RELOADER_", {}, {"config": str(tmp_path / "settings.yaml")})


def test_every_example_of_the_readme_is_yaml_and_there_are_settings_files_among_them() -> None:
    read = [yaml.safe_load(block) for block in yaml_blocks()]
    assert sum("watch" in example for example in read) >= 2
