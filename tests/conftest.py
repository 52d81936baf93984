"""What every test shares: a printed seed, the list of what was not run and why, and the rule for missing servers.

Random tests take `rng`; SIDECARS_SEED repeats a run. A test that needs a real server which is not there calls
`without_server`: it is skipped with the reason, or fails where servers are required (SIDECARS_REQUIRE_SERVERS=1) and
this machine could have it.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
SEED = pytest.StashKey[int]()
TABLES = pytest.StashKey[dict[str, list[str]]]()

pytest_plugins = ["tests.support.processes", "tests.support.elastic", "tests.support.time_limit"]

INSTALLABLE = {"docker", "elasticsearch", "kustomize", "logrotate", "nginx", "prometheus", "postgresql", "redis-server"}
"""What scripts/servers installs. What else a test may want (namespaces, another user) is the machine's to give."""

DEAREST_FIRST = (
    *(
        "pods/lifecycle",
        "pods/compose",
        "pods/images",
        "scenarios/log_shipper",
        "services",
        "scenarios/config_reloader",
    ),
    *("rules", "manifests", "scenarios", "kit", "runtime", "agents", "core"),
)
"""Folders, by what their files cost. On several processes a file is one piece of work, and who begins with the longest
is done first: a long file that is begun last keeps one process busy while the others have nothing left to do.
"""

GiveUp = Callable[[str, str], NoReturn]

# Timings never decide a test, so hypothesis sets no deadline either; a failure prints what repeats it.
hypothesis.settings.register_profile("sidecars", deadline=None, print_blob=True)
hypothesis.settings.load_profile("sidecars")


def pytest_configure(config: pytest.Config) -> None:
    not_ignored()
    config.stash[SEED] = int(os.environ.get("SIDECARS_SEED") or random.SystemRandom().randrange(2**32))
    os.environ["SIDECARS_SEED"] = str(config.stash[SEED])  # the workers of a run on several processes inherit it
    config.stash[TABLES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the dearest files first; within a file the order stays."""
    ranks = {folder: rank for rank, folder in enumerate(DEAREST_FIRST)}

    def rank(item: pytest.Item) -> int:
        folders = [str(folder) for folder in Path(item.nodeid.partition("::")[0].removeprefix("tests/")).parents]
        return next((ranks[folder] for folder in folders if folder in ranks), len(ranks))

    items.sort(key=rank)


def not_ignored() -> None:
    """Under nohup, and in the background of a script, signals are ignored, and so by all that is started: what a test
    starts must have them as on any other day. A handler that does nothing keeps us, and only us, from ending.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its tables to the process that prints them."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["tables"] = session.config.stash[TABLES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the tables of a worker that has finished (one that crashed has none)."""
    for title, lines in getattr(node, "workeroutput", {}).get("tables", {}).items():
        node.config.stash[TABLES].setdefault(title, []).extend(lines)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.stash[SEED]} (SIDECARS_SEED={config.stash[SEED]} repeats the random parts of this run)"


@pytest.fixture(scope="session", autouse=True)
def no_loop_by_accident() -> None:
    """The looptime plugin asks for the current loop before every test; on Python 3.11 that makes one nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run, printed in the header."""
    return pytestconfig.stash[SEED]


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """A random source of its own for each test, so that one test alone repeats what it did in the whole run."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """`table(title, line)` adds a line to a table that is printed when all tests are done."""

    def add(title: str, line: str) -> None:
        pytestconfig.stash[TABLES].setdefault(title, []).append(line)

    return add


def out_of_reach() -> dict[str, str]:
    """Servers that no package of this system provides, with the reason (scripts/servers finds out)."""
    found = ROOT / ".cache" / "servers-out-of-reach"
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    return {name: reason for name, _, reason in (line.partition(": ") for line in lines)}


@pytest.fixture(scope="session")
def without_server() -> GiveUp:
    """`without_server("elasticsearch", "no JDK found")`: skips, or fails where the server is required and possible. For
    what cannot be installed, such as `without_server("mount namespace", "...")`, it always skips.
    """

    def give_up(name: str, reason: str) -> NoReturn:
        required = os.environ.get("SIDECARS_REQUIRE_SERVERS") == "1"
        if required and name in INSTALLABLE - out_of_reach().keys():
            pytest.fail(f"cannot do without a real {name} here (SIDECARS_REQUIRE_SERVERS=1): {reason}", pytrace=False)
        pytest.skip(f"needs a real {name}: {reason}")

    return give_up


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The words after "Skipped: " of one report, or the report's own text."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash[TABLES].items():
        terminalreporter.section(title, sep="-")
        terminalreporter.write_line("\n".join(lines))
    skipped: list[pytest.TestReport | pytest.CollectReport] = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("not run, and why", sep="-")
    for (path, reason), count in Counter((r.nodeid.partition("::")[0], skip_reason(r)) for r in skipped).items():
        terminalreporter.write_line(f"{count:4} in {path}: {reason}")
