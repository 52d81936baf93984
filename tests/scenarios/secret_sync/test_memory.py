"""What secret-sync weighs with twenty secrets, in the environment of its image, and that it does not grow."""

import time
from collections.abc import Callable
from pathlib import Path

from sidecars.declaration import declarations
from tests.rules.agents import shipping_environment
from tests.scenarios.secret_sync.conftest import SecretSyncProcess, Stage
from tests.scenarios.secret_sync.test_secret_sync import DATABASE, KV, READ, TLS, revoke_tokens, user
from tests.support.scale import FULL
from tests.support.waiting import until

ROTATIONS, LOGINS = (10_000, 1_000) if FULL else (100, 8)
GROWTH_MIB = 2.0
FIRST_FILE_SECONDS = 2.0
TITLE = "memory of secret-sync with 20 secrets, MiB resident"


def resident_mib(sync: SecretSyncProcess) -> float:
    rollup = Path(f"/proc/{sync.pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:")) / 1024


def test_twenty_secrets_stay_within_the_budget_and_rotations_and_logins_add_nothing(
    stage: Stage, table: Callable[[str, str], None]
) -> None:
    stage.kv().database().pki().approle(READ).secret(**DATABASE).secret(**TLS)
    for number in range(18):
        stage.secret(**KV | {"name": f"app-{number}", "poll_seconds": 600, "files": [{"path": f"app-{number}.json"}]})
    sync = stage.process()
    sync.program = (shipping_environment("secret-sync"), "-m", "sidecars", "secret-sync")
    began = time.monotonic()
    sync.start()
    first_seconds = time.monotonic() - began

    def healthy() -> bool:
        return all(one["fault"] is None and one["age_seconds"] < 5 for one in sync.status()["secrets"].values())

    def rotate(number: int) -> None:
        stage.root.set("kv/data/app", {"data": {"user": "bob", "password": f"password-{number:08}"}})
        assert sync.ask("/refresh", "POST")[0] == 200
        until(lambda: all(f"-{number:08}" in stage.read(f"app-{one}.json") for one in range(18)), "the new password")

    def log_in() -> None:
        before = user(stage)
        stage.vault.ask(revoke_tokens)
        assert sync.ask("/refresh", "POST")[0] == 200
        until(lambda: user(stage) not in ("", before), "another user after another login")
        until(lambda: sync.ask("/refresh", "POST")[0] == 200 and healthy(), "every secret to be read again")

    for number in range(10):  # what loads at first use, and the pools of the allocator
        rotate(number)
    log_in()
    before_mib = resident_mib(sync)
    for number in range(ROTATIONS):
        rotate(number + 10)
    for _ in range(LOGINS):
        log_in()
        stage.forget()
    after_mib, budget_mib = resident_mib(sync), declarations()["secret-sync"].bars.idle_mib
    figures = (
        f"{before_mib:.1f} of {budget_mib:.0f}, {after_mib:.1f} after {ROTATIONS:,} rotations and {LOGINS:,} logins"
    )
    table(TITLE, f"{figures}; first files after {first_seconds:.1f} s (of about {FIRST_FILE_SECONDS:g})")
    assert after_mib <= budget_mib
    assert after_mib - before_mib <= GROWTH_MIB
