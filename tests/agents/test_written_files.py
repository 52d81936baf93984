"""Files that a sidecar writes: what is no regular file is refused at the start, with the setting and the remedy."""

from pathlib import Path

import pytest

from sidecars.__main__ import find
from sidecars.runtime import Basics, SettingsError

SOUND = {
    "log-shipper": {"paths": "/logs/*.log", "elasticsearch_url": "http://es:9200"},
    "config-reloader": {"watch": "/config", "webhook_url": "http://127.0.0.1:9/"},
    "wait-for": {"targets": "tcp://db:1"},
}


def settings(name: str, **more: str) -> Basics:
    return find(name).load({}, SOUND[name] | more)


@pytest.mark.parametrize(
    ("name", "field", "more"),
    [
        ("log-shipper", "dead_letter_path", {}),
        ("log-shipper", "output_path", {"output": "file"}),
        ("config-reloader", "state_file", {}),
        ("wait-for", "termination_log", {}),
    ],
)
@pytest.mark.parametrize(("path", "kind"), [("/dev/null", "a device"), ("/dev", "a folder")])
def test_a_device_or_a_folder_is_refused(name: str, field: str, more: dict[str, str], path: str, kind: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(name, **more, **{field: path})
    (problem,) = caught.value.problems
    assert (problem.field, problem.message) == (field, f"{path} is {kind}, not a regular file")
    assert problem.remedy.startswith("name a file")


def test_a_checkpoint_that_is_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").symlink_to("/dev/null")
    with pytest.raises(SettingsError, match=r"cannot use state_dir .*checkpoint.json is a device, not a regular file"):
        settings("log-shipper", state_dir=str(tmp_path))


@pytest.mark.parametrize(("field", "output"), [("output_path", "file"), ("dead_letter_path", "elasticsearch")])
@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/stderr"])
def test_our_own_streams_take_documents_and_dead_letters(field: str, output: str, path: str) -> None:
    assert getattr(settings("log-shipper", output=output, **{field: path}), field) == path


def test_an_output_that_is_not_in_force_is_not_looked_at() -> None:
    made = settings("log-shipper", output="stdout", dead_letter_path="/dev/null")
    assert getattr(made, "dead_letter_path") == "/dev/null"  # noqa: B009 -- `settings` is of all sidecars
