"""What is said of an HTTP step before it is ever done, and how its address is shown."""

from typing import Any

import pytest

from sidecars.kit.notify.core import request
from sidecars.kit.notify.core.options import Call, Http

SECRET = "planted-4711"
SHOWN = {
    "http://h:1/path": "http://h:1/path",
    "https://User:pw@Host/p?token=x#y": "https://host/p",
    "http://[::1]:80/": "http://[::1]:80/",
    "http://user:pa/ss@host/": "(an address that cannot be read)",
    "http://user:12/ss@host/": "http://...",
    "http://user:12?ss@host/": "http://...",
    "http://[::1/": "(an address that cannot be read)",
}
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


@pytest.mark.parametrize(("url", "text"), SHOWN.items())
def test_an_address_is_shown_without_what_may_be_secret(url: str, text: str) -> None:
    assert request.shown(url) == text


@pytest.mark.parametrize(("kind", "options", "fields"), PROBLEMS)
def test_what_can_never_work_is_a_problem_of_its_field(
    kind: type[Http], options: dict[str, Any], fields: list[str]
) -> None:
    known = {name: value for name, value in GOOD.items() if name in kind.__struct_fields__}
    found = list(request.problems(kind(**(known | options))))
    assert [field for field, _, _ in found] == fields
    assert SECRET not in str(found)
