"""Records of several parts, as a process sees them: streams are independent, and a kill tears and doubles nothing."""

from tests.support.log_stage import LogStage
from tests.support.logs import LogWriter
from tests.support.waiting import until

AT = "2026-11-22T13:45:00.123456789Z"


def cri(text: str, tag: str = "F", stream: str = "stdout") -> str:
    return f"{AT} {stream} {tag} {text}"


def flags(stage: LogStage) -> dict[str, list[str] | None]:
    return {hit["_source"]["message"]: hit["_source"]["log"].get("flags") for hit in stage.hits()}


def test_lines_of_stderr_arrive_while_a_record_of_stdout_is_open(stage: LogStage) -> None:
    shipper = stage.new_shipper({"parse": "cri", "batch_seconds": 0.1}).start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write_lines(cri("part", "P"), *[cri(f"line {number}", "F", "stderr") for number in range(900)])
    until(lambda: stage.arrived_count() == 900, "the lines of stderr", 4)
    shipper.kill()
    writer.write_lines(cri(" and end"))
    stage.expect(shipper.start(), ["part and end", *[f"line {number}" for number in range(900)]])


def test_a_record_without_an_end_leaves_in_time_and_a_kill_doubles_nothing(stage: LogStage) -> None:
    shipper = stage.new_shipper({"parse": "cri"}).start()
    writer = LogWriter(stage.logs / "app.log")
    writer.write_lines(cri("begun", "P"), cri("other", "F", "stderr"))
    until(lambda: stage.arrived_count() == 2, "the record without an end", 15)
    shipper.kill()
    writer.write_lines(cri("rest"))
    shipper.start()
    stage.expect(shipper, ["begun", "other", "rest"])
    assert flags(stage)["begun"] == ["partial"]


def test_at_the_stop_a_record_leaves_as_it_is(stage: LogStage) -> None:
    shipper = stage.new_shipper({"parse": "cri"}).start()
    LogWriter(stage.logs / "app.log").write_lines(cri("whole"), cri("begun", "P"))
    stage.until_documents(shipper, 1)
    assert shipper.terminate() == 0
    stage.assert_balanced(["whole", "begun"])
    assert not shipper.logged("stop.undelivered")


def test_a_long_record_is_joined_across_rotations_and_kills(stage: LogStage) -> None:
    shipper = stage.new_shipper({"parse": "cri", "paths": f"{stage.logs}/*.log*"}).start()
    log = stage.logs / "app.log"
    writer = LogWriter(log)
    expected = []
    for number in range(12):
        writer.write_lines(cri(f"{number} begins ", "P"), cri(f"err {number}", "F", "stderr"))
        if number % 3 == 1:
            shipper.kill()
        log.rename(log.with_name(f"app.log.2026112{number}"))
        writer.reopen()
        if number % 3 == 1:
            shipper.start(wait=False)
        writer.write_lines(cri("x" * 20_000, "P"), cri(" and ends"))
        expected += [f"{number} begins {'x' * 20_000} and ends", f"err {number}"]
        stage.until_documents(shipper, len(expected))
    stage.expect(shipper, expected)


def test_many_files_with_open_records_and_little_room_all_get_on(stage: LogStage) -> None:
    """Each record is as large as all the room there is."""
    shipper = stage.new_shipper({"parse": "cri", "in_flight_bytes": 256 << 10, "max_line_bytes": 1 << 20})
    part = "x" * 16_000
    for number in range(12):
        writer = LogWriter(stage.logs / f"{number}.log")
        writer.write_lines(*[cri(part, "P")] * 16, cri(str(number)))
    stage.expect(shipper.start(), [part * 16 + str(number) for number in range(12)])


def test_a_file_in_utf16_arrives_as_text_and_leaves_nothing_undelivered(stage: LogStage) -> None:
    shipper = stage.new_shipper().start()
    (stage.logs / "app.log").write_bytes("\ufeffone\r\ntw\u00f6\r\n".encode("utf-16-le"))
    stage.expect(shipper, ["one", "tw\u00f6"])
    assert not shipper.logged("stop.undelivered")
