"""What stands in the place of our files, what is said of it, and that nothing waits for a pipe or shows a secret."""

import os
from pathlib import Path

import pytest

from sidecars.kit.files import UnusableFile, open_regular, read_secret, read_small
from sidecars.kit.tls import TlsFiles, client_context

SECRET = "hunter2-planted"


def put(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "large":
            path.write_bytes(b"x" * (5 << 20))
        case _:
            path.write_bytes({"empty": b"\n", "lines": f"{SECRET}\nb".encode(), "binary": b"\xff\xfe"}[kind])


UNUSABLE = {  # what a file is: whether waiting for another content does not help, and what is said
    "missing": (False, "No such file or directory; is its volume mounted?"),
    "folder": (True, "it is not a regular file"),
    "pipe": (True, "it is not a regular file"),
    "device": (True, "it is not a regular file"),
    "loop": (False, "Too many levels of symbolic links"),
    "large": (False, "it is larger than 65536 bytes"),
    "empty": (False, "it is empty"),
    "lines": (False, "it holds more than one line"),
    "binary": (False, "it is not text in UTF-8"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_file_that_holds_no_secret_is_named_with_its_setting(tmp_path: Path, kind: str) -> None:
    path, (lasting, words) = tmp_path / "file", UNUSABLE[kind]
    if kind != "missing":
        put(path, kind)
    with pytest.raises(UnusableFile) as caught:
        read_secret("password_file", str(path))
    assert str(caught.value).startswith(f"cannot use password_file {path}: {words}")
    assert SECRET not in str(caught.value)
    assert caught.value.lasting is lasting


def test_a_path_with_a_null_byte_is_no_path() -> None:
    with pytest.raises(UnusableFile, match="it is no path"):
        read_small("ca_file", "/a\0b")


@pytest.mark.parametrize("content", ["", " ", "no PEM", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"])
@pytest.mark.parametrize("field", ["ca_file", "client_certificate_file"])
def test_certificates_that_are_none_are_named(tmp_path: Path, field: str, content: str) -> None:
    path = tmp_path / "bad.pem"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnusableFile, match=f"^cannot use {field} {path}: "):
        client_context(TlsFiles(**{field: str(path)}))


def test_a_regular_file_is_opened_and_a_link_only_where_it_may_lead(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    with open(open_regular(str(tmp_path / "link")), "rb") as file:
        assert file.read() == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(str(tmp_path / "link"), os.O_NOFOLLOW)
