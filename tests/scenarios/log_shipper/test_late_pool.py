"""Two Elasticsearch nodes, one of which accepts and never answers: it must not hold up what the other could take."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.delivery_stage import Stage

ENOUGH_SECONDS = 30.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a node whose connections the kernel accepts, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_lines_arrive_through_the_other_node_and_the_failover_is_counted(tmp_path: Path, silent: str) -> None:
    """Which node comes first is drawn by lot, so lines are written until the silent one had its turn."""
    timeouts = 'retried_records_total{reason="timeout"}'
    with Stage(tmp_path, request_timeout_seconds=1, batch_bytes=4096) as stage:
        stage.shipper.settings["elasticsearch_url"] = f"{silent},{stage.backend.url}"
        stage.shipper.start()

        def met() -> bool:
            stage.write(10)
            return stage.shipper.metric(timeouts) > 0

        stage.shipper.until(met, "the silent node's turn", ENOUGH_SECONDS)
        stage.write(1000)
        stage.until_delivered(ENOUGH_SECONDS)
        stage.assert_all_arrived()
        assert stage.outcomes() == {"indexed": len(stage.lines)}
        assert not stage.shipper.logged("delivery.failed"), "the attempt did not fail: another node took it"
        assert stage.shipper.metric("retried_records_total") == stage.shipper.metric(timeouts)
        assert stage.shipper.terminate() == 0
