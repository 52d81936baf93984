"""What is said of the options of a step before it is ever done."""

from typing import Any

import pytest

from sidecars.kit.notify.core.options import Call, Exec, Http, Signal
from sidecars.kit.notify.core.problems import problems

SECRET = "planted-4711"
GOOD: dict[str, Any] = {"url": "http://h/"}
PROBLEMS: list[tuple[type[Http], dict[str, Any], list[str]]] = [
    (Call, {}, []),
    (
        Call,
        {"url": "https://[::1]:8443/x?{hash}", "headers": {"X-A": "{hash}", "Y": ""}, "body_file": "{candidate}/a"},
        [],
    ),
    *(
        (Call, {"url": url}, ["url"])
        for url in ("", "h:80", "ftp://h/", "http://", "http:///p", "http://h:x/", "http://h:0/")
    ),
    (Call, {"expect_status": ("200", "ok")}, ["expect_status"]),
    (Call, {"headers": {"a b": "c"}}, ["headers"]),
    (Call, {"headers": {"a": "b\nc: d"}}, ["headers"]),
    (Call, {"headers": {"content-length": "1"}}, ["headers"]),
    (Call, {"body": "a", "body_file": "b"}, ["body_file"]),
    (Call, {"password_file": "p"}, ["password_file"]),
    (Call, {"username": "u", "bearer_token_file": "t"}, ["bearer_token_file"]),
    (Call, {"url": f"http://u:{SECRET}@h/", "username": "u"}, ["username"]),
    (Call, {"url": f"http://u:{SECRET}@h/", "headers": {"authorization": SECRET}}, ["url"]),
    (Call, {"url": f"http://u:{SECRET}/x@h/"}, ["url"]),
    (Call, {"ca_file": "c", "server_name": "s"}, ["ca_file", "server_name"]),
    (Call, {"url": "https://h", "client_key_file": "k"}, ["client_key_file"]),
    (Call, {"unix_socket": "/" + "s" * 107}, ["unix_socket"]),
]


@pytest.mark.parametrize(("kind", "options", "fields"), PROBLEMS)
def test_what_can_never_work_is_a_problem_of_its_field(
    kind: type[Http], options: dict[str, Any], fields: list[str]
) -> None:
    known = {name: value for name, value in GOOD.items() if name in kind.__struct_fields__}
    found = list(problems(kind(**(known | options))))
    assert [field for field, _, _ in found] == fields
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (Signal(process="nginx"), []),
        (Signal(), [""]),
        (Signal(signal="SIGNOPE", argv="("), ["signal", "argv"]),
        (Exec(command=("true",)), []),
        (Exec(), ["command"]),
        (Exec(command=(" ", "x")), ["command"]),
    ],
)
def test_a_signal_or_a_command_that_can_never_work_is_a_problem(step: Signal | Exec, fields: list[str]) -> None:
    assert [field for field, _, _ in problems(step)] == fields
