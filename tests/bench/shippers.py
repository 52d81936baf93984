"""The programs that are measured: this project's log shipper, and its peers as far as they are installed.

Ours runs in the environment of its image, with its own locked requirements and nothing else (tests/rules/agents.py
says why that matters for memory), with its defaults: gzip, ids of its own. Peers are configured as a careful
user would: bulk requests, retries without end, back-pressure, positions kept, ids of their own (rsyslog's are made
of the file's name and the offset). rsyslog's omelasticsearch cannot compress, so it has less to do for each line.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.bench.figures import Broken, Process, wait_until
from tests.bench.sink import Handle, sink
from tests.rules import agents

_ROOT = Path(__file__).resolve().parents[2]
_END_SECONDS = 60
OURS = "log-shipper"
T = TypeVar("T")


@dataclass(frozen=True)
class Shipper:
    """A program to measure: its name in the tables, and how it is started on `folder`/logs/*.log, port of the sink."""

    name: str
    command: Callable[[Path, int], list[str]]
    environment: Callable[[Path, int], dict[str, str]] = lambda _folder, _port: {}


@contextmanager
def running(shipper: Shipper, folder: Path, port: int) -> Iterator[Process]:
    """The started program; ended by SIGTERM. Raises Broken when it had ended by itself."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    said = folder / "said"
    environment = {"PATH": os.environ["PATH"], **shipper.environment(folder, port)}
    with said.open("ab") as output:
        child = subprocess.Popen(
            shipper.command(folder, port), cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        yield Process(child.pid)
    except Broken as error:
        raise Broken(f"{error}; {shipper.name} said last:\n{_end_of(said)}") from error
    else:
        if child.poll() is not None:
            raise Broken(f"{shipper.name} ended by itself with {child.returncode}:\n{_end_of(said)}")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def bench() -> Iterator[tuple[Path, Handle]]:
    """A folder of a benchmark's own, and a sink."""
    with tempfile.TemporaryDirectory(prefix="sidecars-bench-") as temporary, sink() as served:
        yield Path(temporary), served


def one_by_one(measure: Callable[[Shipper, Path, Handle], T]) -> dict[str, T]:
    """Measure ours and each peer that is there, alone: each gets a folder with `logs` in it, and an empty sink."""
    found = {}
    with bench() as (folder, served):
        for shipper in (ours(), *peers()[0]):
            served.tell("reset")
            (folder / shipper.name / "logs").mkdir(parents=True)
            found[shipper.name] = measure(shipper, folder / shipper.name, served)
    return found


def wait_for_lines(process: Process, served: Handle, count: int) -> None:
    """Until `count` different lines have arrived. Raises Broken, at once when the program has ended."""

    def arrived() -> bool:
        process.check()
        return bool(served.books()["distinct"] >= count)

    wait_until(arrived, f"{count:,} lines", served.as_text)


def _end_of(said: Path) -> str:
    return said.read_text(errors="replace")[-2000:]


def shipped(name: str, settings: Callable[[Path, int], dict[str, str]]) -> Shipper:
    """A sidecar of ours as it ships, with these variables."""
    python, prefix = agents.shipping_environment(name), agents.DECLARED[name].prefix
    usual = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(_ROOT)}
    usual |= {f"{prefix}ADMIN_HOST": "127.0.0.1", f"{prefix}ADMIN_PORT": "0"}

    def environment(folder: Path, port: int) -> dict[str, str]:
        return usual | settings(folder, port)

    return Shipper(name, lambda _folder, _port: [str(python), "-m", "sidecars", name], environment)


def ours() -> Shipper:
    """The log shipper, with its defaults."""

    def settings(folder: Path, port: int) -> dict[str, str]:
        return {
            "LOG_SHIPPER_PATHS": f"{folder}/logs/*.log",
            "LOG_SHIPPER_STATE_DIR": f"{folder}/state",
            "LOG_SHIPPER_ELASTICSEARCH_URL": f"http://127.0.0.1:{port}",
        }

    return shipped(OURS, settings)


def peers() -> tuple[list[Shipper], list[str]]:
    """Those that are installed (rsyslog is fetched first where that is allowed), and why the others are missing."""
    found, missing = [], []
    rsyslogd = _rsyslogd()
    if rsyslogd is None:
        subprocess.run(
            [_ROOT / "scripts" / "packages", "a peer for the benchmarks", "rsyslog", "rsyslog-elasticsearch"],
            check=False,
        )
        rsyslogd = _rsyslogd()
    if rsyslogd is None:
        missing.append("rsyslog: packages rsyslog and rsyslog-elasticsearch are not installed")
    else:
        found.append(_rsyslog(rsyslogd))
    if fluent_bit := shutil.which("fluent-bit"):
        found.append(_fluent_bit(fluent_bit))
    else:
        missing.append("fluent-bit: no such program on PATH")
    return found, missing


def _rsyslogd() -> str | None:
    """The daemon, when its Elasticsearch output is there too."""
    plugin = any(Path("/usr/lib").glob("**/rsyslog/omelasticsearch.so"))
    return shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") if plugin else None


def _rsyslog(rsyslogd: str) -> Shipper:
    def command(folder: Path, port: int) -> list[str]:
        config = folder / "rsyslog.conf"
        config.write_text(_RSYSLOG_CONFIG.format(folder=folder, port=port))
        return [rsyslogd, "-n", "-f", str(config), "-i", str(folder / "rsyslog.pid")]

    return Shipper("rsyslog", command)


def _fluent_bit(program: str) -> Shipper:
    def command(folder: Path, port: int) -> list[str]:
        config = folder / "fluent-bit.conf"
        config.write_text(_FLUENT_BIT_CONFIG.format(folder=folder, port=port))
        return [program, "-c", str(config)]

    return Shipper("fluent-bit", command)


_RSYSLOG_CONFIG = """
global(workDirectory="{folder}/state" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="omelasticsearch")
main_queue(queue.type="linkedlist" queue.size="100000" queue.dequeuebatchsize="4096")
template(name="document" type="list" option.jsonf="on") {{
    property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="message" name="msg" format="jsonf")
    property(outname="log.file.path" name="$!metadata!filename" format="jsonf")
    property(outname="log.offset" name="$!metadata!fileoffset" format="jsonf")
}}
template(name="id" type="string" string="%$!metadata!filename%-%$!metadata!fileoffset%")
input(type="imfile" file="{folder}/logs/*.log" tag="app:" addMetadata="on")
action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" template="document"
       searchIndex="logs" searchType="" bulkmode="on" maxbytes="1m" writeoperation="create"
       bulkid="id" dynbulkid="on"
       retryfailures="on" action.resumeRetryCount="-1")
"""

_FLUENT_BIT_CONFIG = """
[SERVICE]
    flush 1
    storage.path {folder}/state/buffer
[INPUT]
    name tail
    path {folder}/logs/*.log
    db {folder}/state/positions.db
    read_from_head on
    path_key log.file.path
    offset_key log.offset
    storage.type filesystem
    refresh_interval 1
[OUTPUT]
    name es
    match *
    host 127.0.0.1
    port {port}
    index logs
    suppress_type_name on
    generate_id on
    write_operation create
    compress gzip
    retry_limit no_limits
"""
