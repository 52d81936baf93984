"""The demo tells the truth: it exits 0 when every line arrived once, 1 when it did not, and leaves nothing behind."""

import io
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from sidecars.devstack.demo.stage import ActorState, Event, Shipped, Stage
from sidecars.devstack.demo.verdict import judge, table
from sidecars.devstack.demo.view import PlainView, frame
from sidecars.devstack.terminal import Ink
from tests.services.elasticsearch_server import Server
from tests.support.processes import Done, run
from tests.support.rest import call

DEADLINE_SECONDS = 300.0
COMMAND = [sys.executable, "-m", "sidecars.devstack", "demo", "--seconds", "6"]


def environment(folder: Path, url: str = "") -> dict[str, str]:
    """This process's own, without its Elasticsearch; temporary folders are made in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ELASTICSEARCH_")}
    return kept | {"TMPDIR": str(folder)} | ({"ELASTICSEARCH_URL": url} if url else {})


def demo(folder: Path, *arguments: str, url: str = "") -> Done:
    return run(*COMMAND, *arguments, env=environment(folder, url), timeout=DEADLINE_SECONDS)


def counts(shown: str) -> dict[str, int]:
    """The rows of the table: the first word and the number."""
    rows = re.findall(r"^\s+│ (\w+)\s.*│\s+([\d,]+) │$", shown, re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in rows}


def check_a_good_end(ended: Done) -> None:
    found = counts(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert found["written"] == found["found"] > 1000
    assert (found["lost"], found["doubled"]) == (0, 0)
    moments = re.findall(r"written ([\d,]+), shipped ([\d,]+)", ended.stdout)
    assert moments
    assert all(int(shipped.replace(",", "")) <= int(written.replace(",", "")) for written, shipped in moments)
    assert "Nothing lost, nothing doubled." in ended.stdout


def test_a_short_demo_shows_what_happened_and_loses_nothing(tmp_path: Path) -> None:
    ended = demo(tmp_path)
    check_a_good_end(ended)
    assert ended.stdout.count("app.log is rotated") == 3
    for happening in ("the backend is away", "the backend is back", "kill -9", "starts again", "SIGTERM"):
        assert happening in ended.stdout
    words = re.search(r'A search for "(order \d+)"', ended.stdout)
    assert words is not None
    assert f'"message": "{words[1]}: ' in ended.stdout
    assert "\x1b" not in ended.stdout, "a log file wants no terminal codes"
    assert list(tmp_path.iterdir()) == []


def test_a_demo_on_a_real_server_deletes_its_index(tmp_path: Path, elasticsearch_server: Server) -> None:
    url = elasticsearch_server.url
    ended = demo(tmp_path, url=url)
    check_a_good_end(ended)
    assert f"backend: {url}\n" in ended.stdout
    assert call(url, "GET", "/sidecars-demo-*/_count").body["_shards"]["total"] == 0


def test_a_demo_that_loses_lines_says_so_and_exits_1(tmp_path: Path) -> None:
    ended = demo(tmp_path, "--faults", '{"swallow_odds": 0.01}')
    found = counts(ended.stdout)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert found["lost"] == found["written"] - found["found"] > 0
    assert found["doubled"] == 0
    assert f"NOT GOOD: {found['lost']:,} lost" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process_and_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert any("the backend is away" in line for line in running.stdout)
        children = psutil.Process(running.pid).children(recursive=True)
        assert len(children) == 3, "stand-in, shipper and app"
        running.send_signal(number)
        rest = running.stdout.read()
        assert running.wait(DEADLINE_SECONDS) == 128 + number
    assert "everything is cleaned up" in rest
    assert psutil.wait_procs(children, timeout=DEADLINE_SECONDS)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_shipper_that_ends_by_itself_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert any("an app writes" in line for line in running.stdout)
        (shipper,) = (p for p in psutil.Process(running.pid).children() if "log-shipper" in p.cmdline())
        shipper.kill()
        _, said = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == 2
    assert said.startswith("cannot go on: the shipper ended by itself with status -9")
    assert "admin.listening" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "url", "complaint"),
    [
        ((), "http://127.0.0.1:1", "cannot reach Elasticsearch at http://127.0.0.1:1: "),
        ((), "localhost:9200", "cannot use ELASTICSEARCH_URL: write it as http://host:9200"),
        (("--faults", "{}"), "http://127.0.0.1:1", "cannot make a real server misbehave"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(
    tmp_path: Path, words: tuple[str, ...], url: str, complaint: str
) -> None:
    ended = demo(tmp_path, *words, url=url)
    assert (ended.returncode, complaint in ended.stderr) == (2, True), ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_verdict_tells_lost_from_doubled() -> None:
    verdict = judge(5, Counter({1: 1, 2: 3, 4: 1, 5: 1}), 7)
    assert (verdict.documents, verdict.lost, verdict.doubled, verdict.recognised) == (6, 1, 2, 7)
    assert (verdict.lost_numbers, verdict.doubled_numbers) == ((3,), (2,))
    assert not verdict.ok
    lines = table(verdict, Ink(colored=False))
    assert len({len(line) for line in lines}) == 1, "every text fits into its column"
    assert counts("\n".join(lines)) == {
        "written": 5,
        "found": 6,
        "lost": 1,
        "doubled": 2,
        "recognised": 7,
    }


@pytest.mark.parametrize(
    ("written", "found", "lost", "doubled"),
    [(2, {1: 2}, 1, 1), (1, {1: 1, 0: 1}, 0, 1), (1, {1: 1, 2: 1}, 0, 1), (1, {1: 1}, 0, 0)],
    ids=["a lost line and a doubled one do not cancel out", "nobody wrote 0", "nobody wrote 2", "good"],
)
def test_lost_lines_and_strange_ones_are_counted(written: int, found: dict[int, int], lost: int, doubled: int) -> None:
    verdict = judge(written, Counter(found), 0)
    assert (verdict.written, verdict.documents, verdict.lost, verdict.doubled, verdict.ok) == (
        *(written, sum(found.values()), lost, doubled),
        not lost + doubled,
    )


def test_what_is_sent_again_after_a_kill_does_not_look_like_doubling() -> None:
    """50,000 written and stored; the last 300 before the kill were not counted any more, and 750 came again."""
    stage, out = Stage(0, 50_000, "x"), io.StringIO()
    stage.shipped, stage.written, stage.found = Shipped(indexed=49_700, duplicates=750), 50_000, 50_000
    stage.tell("an event")
    stage._began -= 60
    PlainView(stage, out).draw()
    assert "written 50,000, shipped 50,000 (750 sent again, stored once), found 50,000" in out.getvalue()
    shown = "\n".join(frame(stage, Ink(colored=False), most_events=9))
    assert re.search(r"shipped .* 50,000 +750 again", shown)


def test_no_line_of_the_live_view_is_wider_than_80_columns() -> None:
    stage = Stage(30, 1_000_000, "https://a-rather-long-name.search.example.com:9243")
    stage.shipped = Shipped(indexed=8_999_999, duplicates=999_999)
    stage.written = stage.found = 9_999_999
    stage.rotations, stage.shipper_lives, stage.shipper_pid = 3, 2, 4_194_304
    for state in ActorState:
        stage.app = stage.shipper = stage.backend = state
        stage.sample()
        stage.events.append(Event(90.0, "the shipper has drained and ended, 120.0 s after SIGTERM"))
        lines = frame(stage, Ink(colored=False), most_events=9)
        assert max(map(len, lines)) <= 80, "\n".join(lines)
        assert len(lines) <= 23, "it fits into 24 rows"
