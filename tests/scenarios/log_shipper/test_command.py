"""What a person or an init container runs: exit statuses and streams of `check`, `--setup` and a start that is refused.
What is said in each case: tests/agents/log_shipper/test_check.py, test_template.py and test_settings.py.
"""

from pathlib import Path

from sidecars.devstack.elasticsearch.errors import Access
from sidecars.devstack.elasticsearch.server import ServerOptions
from tests.support.elastic import StartStandIn
from tests.support.processes import sidecar
from tests.support.setting_up import run_setup

STREAM = "logs-shop-test"
SECRET = "planted-s3cret"


def test_a_setup_ends_with_what_it_did_or_what_it_lacks(start_stand_in: StartStandIn) -> None:
    backend = start_stand_in(ServerOptions(access=Access((("writer", "right-s3cret"),))))
    refused = run_setup(backend.url, STREAM, username="writer", password="wrong-s3cret")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"cannot set up {STREAM}: HTTP 401: security_exception" in refused.stderr
    assert "manage_index_templates" in refused.stderr
    assert "s3cret" not in refused.stderr
    done = run_setup(backend.url, STREAM, "--retention=", username="writer", password="right-s3cret")
    assert (done.returncode, done.stdout.startswith("created the index template")) == (0, True)


def test_check_says_what_would_be_shipped_asks_the_server_unless_offline_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.log").touch()
    given = {"PATHS": f"{tmp_path}/*.log", "STATE_DIR": f"{tmp_path}/state", "ELASTICSEARCH_URL": "http://127.0.0.1:9"}
    given |= {"USERNAME": "u", "PASSWORD": SECRET}
    for flags, status in ((("--offline",), 0), ((), 1)):
        done = sidecar("check", "log-shipper", *flags, settings=given)
        assert (done.returncode, done.stderr) == (status, "")
        assert f"would ship {tmp_path}/app.log" in done.stdout
        assert ("cannot reach http://127.0.0.1:9" in done.stdout) is bool(status)
        assert SECRET not in done.stdout
    assert not (tmp_path / "state").exists()


def test_wrong_settings_end_a_start_and_a_check_with_status_2_and_show_no_secret() -> None:
    wrong = {"ELASTICSEARCH_URL": f"http://user:{SECRET}@host:port", "BATCH_BYTES": "x", "TYPO": "1"}
    for words in (("log-shipper",), ("check", "log-shipper")):
        done = sidecar(*words, settings={"PATHS": "/logs/*.log", **wrong})
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 3
        assert SECRET not in done.stderr
