"""The examples of k8s/examples, pasted into the cluster as they are: only the images are those of this lab, and the
address of Elasticsearch is that of its stand-in, since a cluster without DNS and Services is enough for these tests.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl_lab import KubectlLab
from tests.support.engine import image
from tests.support.podlab.building import PYTHON
from tests.support.podlab.lab import Manifest
from tests.support.podlab.stage import BACKEND, Stage
from tests.support.waiting import until

EXAMPLES = Path(__file__).resolve().parents[2] / "k8s" / "examples"
DATA_STREAM = "logs-sidecar-default"
REPLACED = {"Service", "Deployment"}
GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"

pytestmark = pytest.mark.usefixtures("native")


def pasted(stage: Stage, file: str) -> None:
    """Apply what stands in this file, the configuration before what mounts it."""
    text = (EXAMPLES / file).read_text(encoding="utf-8")
    text = re.sub(r"\bsidecars/([a-z-]+):[0-9.]+", lambda match: image(match[1]), text)
    text = text.replace(f"http://{BACKEND}:9200", stage.url)
    manifests = [manifest for manifest in yaml.safe_load_all(text) if manifest["kind"] not in REPLACED]
    for manifest in sorted(manifests, key=lambda manifest: manifest["kind"] == "Pod"):
        if manifest["kind"] == "Pod":
            stage.start(manifest)
        else:
            stage.lab.apply(manifest)


def configure(stage: Stage, name: str, text: str) -> None:
    """Change the app's configuration."""
    data: Manifest = {"app.json": text}
    stage.lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def asked(stage: Stage, pod: str, path: str) -> str:
    """What the app answers to a request, which it also logs."""
    return stage.lab.run(pod, "shop", [*PYTHON, "-c", GET, f"http://127.0.0.1:8080{path}"]).strip()


def serve_and_reload(stage: Stage, pod: str) -> None:
    """The pod, named like its ConfigMap, becomes ready, answers, and answers otherwise once it is configured so."""
    stage.until(pod, "it is ready", lambda seen: seen.ready)
    assert asked(stage, pod, "/bread") == "hello"
    configure(stage, pod, '{"greeting": "good evening"}')
    until(lambda: asked(stage, pod, "/again") == "good evening", "the new greeting", stage.lab.patience_seconds)


def documents(log: str) -> list[dict[str, Any]]:
    """The documents in the output of a shipper that ships to stdout; its own log lines stand between them."""
    lines = map(json.loads, log.splitlines())
    return [line for line in lines if "action" not in line]


def test_the_pod_serves_reloads_refuses_what_is_broken_and_ships_its_last_word(stage: Stage) -> None:
    pasted(stage, "pod.yaml")
    serve_and_reload(stage, "shop")
    configure(stage, "shop", '{"greeting": ')
    stage.until_said("shop", "config-reloader", "Expecting value")
    assert asked(stage, "shop", "/after") == "good evening"
    stage.delete("shop")
    arrived = stage.arrived(DATA_STREAM)
    assert {"started", "GET /bread", "configuration read again", "GET /after"} <= set(arrived)
    assert arrived.count("stopped") == 1, arrived


def test_the_job_completes_and_every_line_of_it_is_shipped(lab: KubectlLab, stage: Stage) -> None:
    pasted(stage, "job.yaml")
    lab.until_complete("report")
    shipped = documents(lab.call("logs", "job/report", "--container", "log-shipper"))
    assert sorted(one["message"] for one in shipped) == sorted(f"line {number}" for number in range(1000))
    lab.call("delete", "job", "report", "--wait=false")


def test_several_sidecars_in_one_container_do_the_work_of_both(stage: Stage) -> None:
    pasted(stage, "one-process.yaml")
    serve_and_reload(stage, "shop-one")
    stage.until_said("shop-one", "sidecars", "configuration read again")
