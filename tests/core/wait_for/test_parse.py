"""Targets as people write them, and what they are told about the ones that are none."""

import base64

import pytest

from sidecars.wait_for.core.address import without_secrets
from sidecars.wait_for.core.parse import parse
from sidecars.wait_for.core.target import BadTarget, Dns, File, HttpTarget, JsonCondition, Postgres, Socket, Target, Tcp

GOOD: list[tuple[str, Target]] = [
    ("tcp://db:5432", Tcp("tcp://db:5432", "db", 5432)),
    ("db:5432", Tcp("tcp://db:5432", "db", 5432)),
    (" TCP://db:5432/ ", Tcp("tcp://db:5432", "db", 5432)),
    ("tcp://[fd00::1]:5432", Tcp("tcp://[fd00::1]:5432", "fd00::1", 5432)),
    ("[::1]:80", Tcp("tcp://[::1]:80", "::1", 80)),
    ("[fe80::1%eth0]:80", Tcp("tcp://[fe80::1%eth0]:80", "fe80::1%eth0", 80)),
    ("dns://db.default.svc", Dns("dns://db.default.svc", "db.default.svc")),
    ("dns://db.", Dns("dns://db.", "db.")),
    ("file:///shared/ready", File("file:///shared/ready", "/shared/ready", None, None)),
    (
        "file:///a%20b%3F?min_bytes=3&contains=all+done%21",
        File("file:///a b?", "/a b?", 3, "all+done!"),
    ),
    ("file:///a#contains=x?y", File("file:///a", "/a", None, "x?y")),
    ("socket:///run/app.sock", Socket("socket:///run/app.sock", "/run/app.sock")),
    ("postgres://db", Postgres("postgres://db", "db", 5432, "postgres", "")),
    ("postgres://u%40x@db:6432/shop", Postgres("postgres://db:6432", "db", 6432, "u@x", "shop")),
    ("postgres://u:pw@db/shop?sslmode=require&pool_size=3", Postgres("postgres://db", "db", 5432, "u", "shop")),
    ("postgresql+asyncpg://u:pw@db/shop", Postgres("postgresql+asyncpg://db", "db", 5432, "u", "shop")),
    ("postgresql://[::1]/shop", Postgres("postgresql://[::1]", "::1", 5432, "postgres", "shop")),
]


@pytest.mark.parametrize(("text", "target"), GOOD, ids=[text for text, _ in GOOD])
def test_a_target_is_read(text: str, target: Target) -> None:
    assert parse(text) == target


BAD = {
    "redis://r:6379": "there is no kind 'redis'",
    "tcp://db": "it names no port",
    "db": "it names no port",
    "": "it names no host",
    "tcp://:5432": "it names no host",
    "tcp://db:": "its port is not a number",
    "tcp://db:0": "its port is not a number",
    "tcp://db:5432x": "its port is not a number",
    "tcp://a:1,tcp://b:2": "its port is not a number",
    "tcp://db:5432?wait=1": "there is no option 'wait'",
    "tcp://db:5432#x": "there is no option 'x'",
    "tcp://db:5432/path": "a path follows the host",
    "tcp://u:p@db:5432": "a user is given",
    "tcp://fd00::1": "an IPv6 address stands without brackets",
    "tcp://[db]:5432": "between its brackets is no IPv6 address",
    "tcp://[::1:5432": "between its brackets is no IPv6 address",
    "dns://db:53": "a port is given",
    "dns://": "it names no host",
    "file://shared/ready": "it names no absolute path",
    "file:///a?size=3": "there is no option 'size'",
    "file:///a?min_bytes=3k": "min_bytes is not a whole number",
    "file:///a?min_bytes=1&min_bytes=2": "the option min_bytes is given 2 times",
    "file:///a%00b": "the path has a NUL",
    "socket://run/app.sock": "it names no absolute path",
    "socket:///" + "x" * 107: "the path is longer than 107 bytes",
    "postgres://db#sslmode=require": "there is no option 'sslmode'",
    "postgres://u:pw@a:5432,b:5432/shop": "it names several hosts",
    "postgres://u%00x@db": "the user or the database has a NUL",
    "http://": "it names no host",
    "http://h:x/": "its port is not a number",
    "http://h/?status=2xx,999": "'999' is no status",
    "http://h/?body=(": "its body is no regular expression",
    "http://h/?json=a..b": "its json is no path of keys",
    "http://h/?method=GE%20T": "its method is no word",
    "http://h/?header=NoColon": "one of its headers cannot be sent",
    "http://h/?header=X:a%0d%0aY:b": "one of its headers cannot be sent",
    "http://h/?a=1#expect=200": "there is no option 'expect'",
    "http://h/\udcff": "it has bytes that are not UTF-8",
    "http://u:p/w@h/": "an @ follows a / ? or #",
}


@pytest.mark.parametrize(("text", "words"), BAD.items(), ids=BAD.keys())
def test_a_mistake_is_named(text: str, words: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse(text)
    assert any(words in mistake.message for mistake in caught.value.mistakes), caught.value.mistakes
    assert all(mistake.remedy for mistake in caught.value.mistakes)


def test_all_mistakes_of_a_target_are_named_at_once() -> None:
    with pytest.raises(BadTarget) as caught:
        parse("http://h:0/?status=9&body=(&method=1")
    assert len(caught.value.mistakes) == 4


def http(text: str) -> HttpTarget:
    target = parse(text)
    assert isinstance(target, HttpTarget)
    return target


SENT = {
    "http://api": "http://api:80/",
    "https://api": "https://api:443/",
    "http://api:8080/healthz?status=204": "http://api:8080/healthz",
    "http://api/?status=204&a=1&body=x&b=%2F": "http://api:80/?a=1&b=%2F",
    "http://api/?status=x&a=1#status=204": "http://api:80/?status=x&a=1",
    "http://api/?status=x#": "http://api:80/?status=x",
    "http://api/a b/ü?q=ö": "http://api:80/a%20b/%C3%BC?q=%C3%B6",
    "http://api/a%20b": "http://api:80/a%20b",
    "http://[::1]:8080/": "http://[::1]:8080/",
    "http://bücher.example/": "http://xn--bcher-kva.example:80/",
    "http://u:p@api/": "http://api:80/",
    "http://api.shop.svc./x": "http://api.shop.svc:80/x",
}


@pytest.mark.parametrize(("text", "url"), SENT.items(), ids=SENT.keys())
def test_of_the_query_only_the_options_are_kept_back(text: str, url: str) -> None:
    assert http(text).url == url


def test_the_options_of_an_http_target() -> None:
    target = http("http://u:p%40@api/x?method=head&header=A:%20b&header=C%3Dd:e&json=items[0].name=x=y&body=a%26b+")
    assert (target.method, target.body, target.json) == (
        "HEAD",
        "a&b+",
        JsonCondition(("items", 0, "name"), "items[0].name", "x=y"),
    )
    assert target.headers[:2] == (("A", "b"), ("C", "d:e"))
    assert target.headers[2] == ("Authorization", "Basic " + base64.b64encode(b"u:p@").decode())
    assert http("http://u@api/").headers == (("Authorization", "Basic " + base64.b64encode(b"u:").decode()),)
    assert http("http://api/?json=ready").json == JsonCondition(("ready",), "ready", None)
    assert str(http("http://api/").statuses) == "2xx"


SECRETS = "http://user:hunter2@api/x?token=hunter2&header=A:hunter2#body=hunter2"


@pytest.mark.parametrize("text", ["http://u:1/hunter2@db/", "http://u:1?hunter2@db/", "postgres://u:1/hunter2@db/x"])
def test_of_an_address_that_happens_to_be_one_the_path_may_be_the_rest_of_a_password(text: str) -> None:
    assert "hunter2" not in parse(text).shown


def test_neither_the_address_shown_nor_the_value_shows_a_secret() -> None:
    target = http(SECRETS.partition("#")[0])
    assert target.shown == "http://api/x"
    assert "hunter2" not in repr(target)


LEAKS = [
    SECRETS,
    "what://a:hunter2@b@c?x=hunter2",
    "postgres://u:hunter2@db/x#y",
    "u:hunter2@db:5432",
    "u:hunter2://x@db:5432",
    "postgres://u:x/hunter2@db/x",
    *(
        f"http://u:{before}{sign}hunter2{after}@db/"
        for before in ("hunter2", "1")
        for sign in "/?#"
        for after in ("", "=")
    ),
    "tcp://u:1?hunter2@db:1",
]


@pytest.mark.parametrize("text", LEAKS)
def test_words_about_a_bad_target_show_no_secret(text: str) -> None:
    assert "hunter2" not in without_secrets(text)
    with pytest.raises(BadTarget) as caught:
        parse(text.replace("http:", "ftp:"))
    assert "hunter2" not in repr(caught.value.mistakes)
    try:
        said = parse(text).shown  # some happen to be an address
    except BadTarget as error:
        said = repr(error.mistakes)
    assert "hunter2" not in said
