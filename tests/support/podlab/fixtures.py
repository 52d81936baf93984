"""Fixtures for the conftest of every place that plays scenarios; each has a fixture `lab` of its own."""

import itertools
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.support.engine import EngineError
from tests.support.podlab.lab import Lab, Unable
from tests.support.podlab.stage import Stage, set_up_backend

_LAST_LINES = 25
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def backend(lab: Lab) -> str:
    """Address of the stand-in for Elasticsearch, a pod that all scenarios share."""
    return set_up_backend(lab)


@pytest.fixture
def stage(lab: Lab, backend: str, table: Callable[[str, str], None]) -> Iterator[Stage]:
    """A stage whose pods are ended with the test."""
    stage = Stage(lab, backend, f"s{next(_NUMBERS)}", table)
    yield stage
    stage.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show how the pods of a scenario stand, and what they said last, when it failed."""
    report = yield
    stage = item.funcargs.get("stage")
    if report.when == "call" and report.failed and isinstance(stage, Stage):
        report.sections.append(("its pods", "\n".join(line for pod in stage.pods for line in story(stage.lab, pod))))
    return report


def story(lab: Lab, pod: str) -> Iterator[str]:
    """Yield the state of each container, and its last lines."""
    try:
        for container in lab.seen(pod).containers:
            yield f"--- {pod}/{container.name}: {container}"
            yield from lab.log(pod, container.name).splitlines()[-_LAST_LINES:]
    except (EngineError, Unable) as error:
        yield str(error)
