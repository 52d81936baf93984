"""What stands in a log is shipped as it is meant, whatever it is; nothing is abandoned, memory stays within bounds."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.books import messages
from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.sidecars import ShipperProcess

MEMORY_LIMIT_BYTES = 100 << 20
MIB = 1 << 20


def ship(stage: LogStage, data: bytes, settings: dict[str, object] | None = None) -> tuple[ShipperProcess, list[Any]]:
    """The documents of one file with this content, by offset, from a shipper that read it and was stopped."""
    shipper = stage.new_shipper(settings)
    (stage.logs / "app.log").write_bytes(data)
    shipper.start().until_shipped(data.rfind(b"\n") + 1)
    shipper.metrics()
    assert shipper.terminate() == 0
    found = sorted(stage.hits(), key=lambda hit: int(hit["_source"]["log"]["offset"]))
    return shipper, [hit["_source"] for hit in found]


def lines_of(documents: list[Any]) -> list[str]:
    return [document["message"] for document in documents]


def test_line_endings_and_byte_order_marks_are_no_part_of_a_line(stage: LogStage) -> None:
    _, documents = ship(stage, b"\xef\xbb\xbffirst\r\nsecond\n\nfourth \xc3\xbc\r\n\r\nlast")
    assert lines_of(documents) == ["first", "second", "", "fourth \u00fc", "", "last"]
    assert [document["log"]["offset"] for document in documents] == [0, 10, 17, 18, 29, 31]


def test_invalid_utf8_is_replaced_and_counted(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    (stage.logs / "app.log").write_bytes(b'good\nb\xe4d\n\xff\xfe\xfd\ncut \xe2\x82\nquoted "\x01\xc3\x28"\n')
    stage.until_documents(shipper, 5)
    assert shipper.metric("invalid_utf8_lines_total") == 4
    stage.expect(shipper, ["good", "b\ufffdd", "\ufffd\ufffd\ufffd", "cut \ufffd", 'quoted "\x01\ufffd("'])


def test_every_character_survives(stage: LogStage) -> None:
    """Whatever JSON has to escape, and whatever could be taken for the end of a bulk line or of a message."""
    written = [chr(code) * 2 for code in range(1, 0x250) if chr(code) != "\n"]
    written += [
        '","',
        '\\","',
        '"}\n'[:2],
        '{"create":{}}',
        "\u2028\u2029\u0085",
        "\U0001f600",
        '\\u0000\\"',
        "\x7f\x1b[31m",
    ]
    written = [line for line in written if not line.endswith("\r")]
    shipper = stage.new_shipper().start()
    LogWriter(stage.logs / "app.log").write_lines(*written)
    stage.expect(shipper, written)


def test_binary_garbage_is_read_to_its_end(stage: LogStage, rng: random.Random) -> None:
    """Bytes of every kind: nothing stops the shipper, the books add up, and the good line behind arrives."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    log.write_bytes(rng.randbytes(2 * MIB) + b"\nthe good line\n")
    shipper.until_shipped(log.stat().st_size)
    stage.until_documents(shipper, 1)
    assert messages(stage.hits()).count("the good line") == 1
    assert shipper.terminate() == 0


@pytest.mark.parametrize(("length_bytes", "kept_bytes"), [(100 << 10, 100 << 10), (5 * MIB, MIB), (200 * MIB, MIB)])
def test_a_long_line_is_cut_at_the_limit_and_the_next_one_arrives(
    stage: LogStage, length_bytes: int, kept_bytes: int
) -> None:
    shipper = stage.new_shipper().start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write_bytes(b"before\n")
    for _ in range(length_bytes // (100 << 10)):  # no newline for a long time
        writer.write_bytes(b"x" * (100 << 10))
    writer.write_bytes(b"x" * (length_bytes % (100 << 10)))
    writer.write_bytes(b"\nafter\n")
    shipper.until_shipped(writer.path.stat().st_size)
    stage.until_documents(shipper, 3)
    assert shipper.memory_bytes("VmHWM") < MEMORY_LIMIT_BYTES
    assert shipper.metric("cut_lines_total") == (length_bytes > kept_bytes)
    stage.expect(shipper, ["before", "x" * kept_bytes, "after"])
    flags = [hit["_source"]["log"].get("flags") for hit in stage.hits() if len(hit["_source"]["message"]) > 10]
    assert flags == [["truncated"] if length_bytes > kept_bytes else None]


def test_an_endless_line_is_shipped_while_it_is_still_being_written(stage: LogStage) -> None:
    """Its beginning is not held back until the newline comes; and a restart in the middle starts no second line."""
    shipper = stage.new_shipper({"max_line_bytes": 64 << 10}).start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write_bytes(b"y" * MIB)
    stage.until_documents(shipper, 1)
    shipper.until_shipped(MIB)
    assert shipper.terminate() == 0
    writer.write_bytes(b"y" * MIB + b"\nafter\n")
    stage.expect(shipper.start(), ["y" * (64 << 10), "after"])


def test_a_cut_splits_no_character(stage: LogStage) -> None:
    shipper, documents = ship(stage, "a€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€\n".encode(), {"max_line_bytes": 64})
    assert lines_of(documents) == ["a" + "€" * 21]
    assert "\ufffd" not in documents[0]["message"]
    assert shipper.logged("sidecar.crashed") == []


def test_zeros_before_a_line_are_skipped(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    (stage.logs / "app.log").write_bytes(b"one\n" + bytes(5 * MIB) + b"two\nthree\0half\n")
    stage.until_documents(shipper, 3)
    assert shipper.metric("skipped_nul_bytes_total") == 5 * MIB
    stage.expect(shipper, ["one", "two", "three\0half"])


def test_a_preallocated_file_is_read_as_it_fills(stage: LogStage) -> None:
    """Zeros at the end are no lines yet: the writer puts some there, and cuts the rest off when it closes."""
    shipper = stage.new_shipper().start()
    log = stage.logs / "app.log"
    with log.open("wb", buffering=0) as file:
        file.write(bytes(MIB))
        file.seek(0)
        written: list[str] = []
        for number in range(20):
            written.append(f"line {number} in its place")
            file.write(written[-1].encode() + b"\n")
            if number % 5 == 4:
                stage.until_documents(shipper, len(written))
        file.truncate()
    stage.expect(shipper, written)


def test_zeros_at_the_end_do_not_hold_up_the_exit(stage: LogStage) -> None:
    """They hold no line, but they are in the file: the exit says so and does not wait for the grace to run out."""
    shipper, documents = ship(stage, b"one\n" + bytes(MIB))
    assert lines_of(documents) == ["one"]
    assert [line["undelivered_bytes"] for line in shipper.logged("stop.undelivered")] in ([], [MIB])


def test_a_half_line_waits_for_its_end(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write_bytes(b"one\nha")
    stage.until_documents(shipper, 1)
    for part in (b"lf", b" a", b" li"):
        size_bytes = writer.path.stat().st_size + len(part)
        writer.write_bytes(part)
        shipper.until(lambda size=size_bytes: shipper.status()["files"][0]["size"] == size, "it to be seen")  # type: ignore[misc]
        assert stage.arrived_count() == 1
    writer.write_bytes(b"ne\ntwo\n")
    stage.expect(shipper, ["one", "half a line", "two"])


def test_an_unterminated_last_line_is_shipped_at_exit_and_not_again(stage: LogStage) -> None:
    shipper, documents = ship(stage, b"one\nlast")
    assert lines_of(documents) == ["one", "last"]
    shipper.start().until_caught_up()
    assert shipper.terminate() == 0
    stage.assert_balanced(["one", "last"])


def test_json_lines_become_fields(stage: LogStage) -> None:
    lines = [
        {"message": "paid", "@timestamp": "2026-01-02T03:04:05.678Z", "order": {"id": 7}, "log": {"level": "warn"}},
        {"log": "from docker\n", "stream": "stderr", "time": "2026-01-02T03:04:06Z"},
        {"no": "message"},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines) + "no json\n[1, 2]\n"
    _, documents = ship(stage, data.encode(), {"parse": "json", "fields": "service.name=checkout"})
    assert [document.get("message") for document in documents] == ["paid", "from docker", None, "no json", "[1, 2]"]
    assert documents[0]["@timestamp"] == "2026-01-02T03:04:05.678Z"
    assert documents[0]["order"] == {"id": 7}
    assert documents[0]["log"] == {
        "level": "warn",
        "file": {"path": str(stage.logs / "app.log")},
        "offset": 0,
    }
    assert documents[1]["@timestamp"] == "2026-01-02T03:04:06Z"
    assert all(document["service"] == {"name": "checkout"} for document in documents)


def test_cri_lines_are_joined_and_keep_their_time(stage: LogStage) -> None:
    stamp = "2026-01-02T03:04:05.{:09d}Z"
    lines = [
        f"{stamp.format(1)} stdout F whole",
        f"{stamp.format(2)} stdout P first, ",
        f"{stamp.format(3)} stderr F between",
        f"{stamp.format(4)} stdout P second, ",
        f"{stamp.format(5)} stdout F third",
        "not of that format",
        f"{stamp.format(6)} stderr F ",
    ]
    _, documents = ship(stage, ("\n".join(lines) + "\n").encode(), {"parse": "cri"})
    shown = [(document["message"], document.get("stream")) for document in documents]
    assert shown == [
        ("whole", "stdout"),
        ("first, second, third", "stdout"),
        ("between", "stderr"),
        ("not of that format", None),
        ("", "stderr"),
    ]
    assert [document["@timestamp"] for document in documents[:3]] == [stamp.format(n) for n in (1, 2, 3)]


def test_a_cri_record_is_not_torn_by_the_pace_of_its_writer(stage: LogStage) -> None:
    """Its parts come one by one, a shipper is killed in between, and it is one document all the same."""
    shipper = stage.new_shipper({"parse": "cri"}).start()
    writer = LogWriter(stage.logs / "app.log")
    for number in range(3):
        writer.write_bytes(b"2026-01-02T03:04:05.000000001Z stdout P part %d, \n" % number)
        stage.until_followed(shipper, writer.path)
        shipper.kill()
        shipper.start()
    writer.write_bytes(b"2026-01-02T03:04:05.000000009Z stdout F end\n")
    stage.expect(shipper, ["part 0, part 1, part 2, end"])


def test_documents_carry_the_fields_of_the_pod(stage: LogStage) -> None:
    pod = {"POD_NAME": "web-1", "POD_NAMESPACE": "shop", "POD_UID": "u-1", "NODE_NAME": "n1", "CONTAINER_NAME": "app"}
    shipper = stage.new_shipper({"fields": "service.name=checkout,labels.team=pay"})
    shipper.environment |= pod
    del shipper.settings["pod_uid"]  # from the variable
    shipper.start()
    log: Path = stage.logs / "app.log"
    log.write_text("one\n", encoding="utf-8")
    stage.expect(shipper, ["one"])
    source = stage.hits()[0]["_source"]
    assert source.pop("@timestamp").endswith("Z")
    assert source == {
        "message": "one",
        "log": {"file": {"path": str(log)}, "offset": 0},
        "service": {"name": "checkout"},
        "labels": {"team": "pay"},
        "kubernetes": {
            "pod": {"name": "web-1", "uid": "u-1"},
            "namespace": "shop",
            "node": {"name": "n1"},
            "container": {"name": "app"},
        },
    }
