"""The command line of one sidecar: words, what follows --, other people's flags."""

from typing import Annotated, Any

import pytest
from msgspec import Meta

from sidecars.runtime import Basics, Context, Problem, Settings, SettingsError, Sidecar
from sidecars.runtime.command.flags import CommandLine, parse_arguments
from sidecars.runtime.settings.load import load
from tests.support.toy_oneshots import ONESHOTS, OnceSettings
from tests.support.toys import TOYS

ONCE, IDLE = ONESHOTS["once"], TOYS["idle"]


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["a", "b,c"], {"targets": ["a", "b,c"]}),
        (["a", "--wait-seconds", "5s", "b"], {"targets": ["a", "b"], "wait_seconds": "5s"}),
        (["--quiet", "a"], {"targets": ["a"], "quiet": "true"}),
        (["--quiet", "no", "a"], {"targets": ["a"], "quiet": "no"}),
        (["a", "--", "sh", "-c", "x", "--", "y"], {"targets": ["a"], "command": ["sh", "-c", "x", "--", "y"]}),
        (["--"], {"command": []}),
        (["-"], {"targets": ["-"]}),
        (["-wait-seconds=5s"], {"wait_seconds": "5s"}),
        (["-wait-seconds", "5s"], {"wait_seconds": "5s"}),
        (["-quiet", "a"], {"targets": ["a"], "quiet": "true"}),
        (["--web.wait=1"], {"wait_seconds": "1"}),
        (["-web.wait", "1", "--wait-seconds", "2"], {"wait_seconds": "2"}),
        (["--status", "-1"], {"status": "-1"}),
        (["--targets", "a", "-targets=b"], {"targets": ("a", "b")}),
        (["--fault=-x"], {"fault": "-x"}),
        (["--fault="], {"fault": ""}),
        (["-config", "/x"], {"config": "/x"}),
    ],
)
def test_each_word_goes_where_it_belongs(words: list[str], flags: dict[str, object]) -> None:
    assert parse_arguments(ONCE, words) == CommandLine(flags=flags)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["-help"]])
def test_help_is_asked_for(words: list[str]) -> None:
    assert parse_arguments(IDLE, words) == CommandLine(help=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["x", "y"], "2 words that belong to no flag"),
        (["--", "x"], "it takes nothing after a lone --"),
        (["--queue"], "argument --queue: expected one argument"),
        (["--queue", "--loud"], "argument --queue: expected one argument"),
        (["--setup=1"], "--setup takes no value"),
        (["-queu=3"], "there is no such flag; did you mean --queue?"),
        (["-5"], "1 words that belong to no flag"),
    ],
)
def test_what_belongs_nowhere_is_a_problem(words: list[str], expected: str) -> None:
    (problem,) = parse_arguments(IDLE, words).problems
    assert expected in str(problem)


def test_the_value_of_an_unknown_flag_is_no_word_of_the_sidecar() -> None:
    line = parse_arguments(ONCE, ["--pasword", "hunter2", "a"])
    assert line.flags == {"targets": ["a"]}
    assert len(line.problems) == 1


def settings_of(words: list[str], **environ: str) -> OnceSettings:
    return load(OnceSettings, "ONCE_", environ, parse_arguments(ONCE, words).flags)


def test_words_are_whole_items_and_replace_the_variable() -> None:
    found = settings_of(["a,b", "[c"], ONCE_TARGETS="x,y", ONCE_COMMAND='["echo", "a,b"]')
    assert (found.targets, found.command) == (("a,b", "[c"), ("echo", "a,b"))
    assert settings_of(["--", "true"], ONCE_COMMAND="false").command == ("true",)


def test_a_flag_given_several_times_adds_up_whatever_its_form() -> None:
    assert settings_of(["--targets", '["a,b"]', "--targets", "c,d"]).targets == ("a,b", "c", "d")
    found = load(
        IDLE.settings,
        "",
        {},
        parse_arguments(IDLE, ["--labels", "a=1", "--labels", '{"b": 2}', "--admin-port=1"]).flags,
    )
    assert getattr(found, "labels", None) == {"a": "1", "b": "2"}


class Plain(Settings, frozen=True, kw_only=True):
    """Nothing of its own."""

    items: Annotated[tuple[str, ...], Meta(description="Items.")] = ()


async def nothing(settings: Basics, ctx: Context) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "given",
    [
        {"admin": False},
        {"settings": OnceSettings},
        {"words": "item"},
        {"rest": "admin_port"},
        {"aliases": {"old": "item"}},
    ],
)
def test_a_sidecar_whose_parts_do_not_fit_is_refused_when_declared(given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"name": "plain", "settings": Plain, "main": nothing}
    assert Sidecar(**usual).name == "plain"
    with pytest.raises(ValueError, match="cannot use the sidecar plain: "):
        Sidecar(**(usual | given))


class Picky(OnceSettings, frozen=True, kw_only=True):
    """Wants nothing."""

    def problems(self) -> tuple[Problem, ...]:
        return tuple(Problem("targets", f"{target!r} is too much", "drop it") for target in self.targets)


@pytest.mark.parametrize(("words", "source"), [(["a"], "the command line"), (["--targets", "a"], "--targets")])
def test_a_wrong_word_is_told_to_come_from_the_command_line(words: list[str], source: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Picky, "ONCE_", {}, parse_arguments(ONCE, words).flags)
    assert str(caught.value) == f"cannot use targets (from {source}): 'a' is too much; drop it"
