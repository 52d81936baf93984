"""The story of a scenario's pods, shown when it failed: for the conftest of every place that plays scenarios."""

from collections.abc import Generator

import pytest

from tests.support.podlab.stage import Stage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    stage = item.funcargs.get("stage")
    if report.when == "call" and report.failed and isinstance(stage, Stage):
        report.sections.append(("what happened to its pods", stage.lab.story(stage.pods)))
    return report
