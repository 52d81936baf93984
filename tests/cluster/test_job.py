"""A whole Job with a native sidecar: what the pod of the shared scenario cannot show, its controller's view."""

import pytest

from tests.cluster.kubectl_lab import KubectlLab
from tests.support.podlab.building import LOGS, STATE, log_shipper, pod, writer
from tests.support.podlab.stage import Stage


@pytest.mark.usefixtures("native")
def test_a_job_with_a_native_sidecar_completes(lab: KubectlLab, stage: Stage) -> None:
    name = stage.name("job")
    template = pod(
        name, [writer(LINES=200)], [log_shipper(stage.url, name)], volumes=[LOGS, STATE], restartPolicy="Never"
    )
    del template["apiVersion"], template["kind"], template["metadata"]
    lab.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {"template": template, "backoffLimit": 0},
        }
    )
    lab.until_complete(name)
    assert sorted(stage.arrived(name)) == sorted(f"app {number}" for number in range(201))
