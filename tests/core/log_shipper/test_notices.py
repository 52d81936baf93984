"""What is said of what a scan came across."""

from sidecars.log_shipper.core.notices import SAID, Notice, texts


def test_there_is_a_sentence_for_each() -> None:
    assert SAID.keys() == set(Notice)


def test_a_few_files_are_named_each() -> None:
    met = [(Notice.FOUND, f"/{number}.log", "") for number in range(3)]
    assert [text for _, text, _, _ in texts(met)] == ["following /0.log", "following /1.log", "following /2.log"]


def test_ten_thousand_files_are_one_line_and_others_beside_them_keep_theirs() -> None:
    met = [(Notice.RESUMED, f"/{number}.log", "") for number in range(10_000)]
    said = list(texts([*met, (Notice.UNREADABLE, "/secret.log", "Permission denied")]))
    assert [(text, path, reason) for _, text, path, reason in said] == [
        ("going on with /0.log (and 9,999 more files alike)", "/0.log", ""),
        (
            "cannot open /secret.log: Permission denied; trying again at every scan",
            "/secret.log",
            "Permission denied",
        ),
    ]
