"""An app that writes numbered lines, LINES_PER_SECOND of them, until it has written LINES (0: for ever) or was told to
stop; then on for LAST_WORDS_SECONDS, to the last instant, where it is cut off in the middle of a line. How many lines
it wrote stands in its termination message, so that nobody has to believe the log about the log.
"""

import os
import signal
import sys
import time
from pathlib import Path

name = os.environ["NAME"]
pause_seconds = 1 / float(os.environ["LINES_PER_SECOND"])
last_words_seconds = float(os.environ.get("LAST_WORDS_SECONDS", "0"))
lines = int(os.environ.get("LINES", "0")) or sys.maxsize
stop_at: list[float] = []


def stop(_number: int, _frame: object) -> None:
    stop_at.append(time.monotonic() + last_words_seconds)


signal.signal(signal.SIGTERM, stop)
count = 0
with Path(f"/var/log/app/{name}.log").open("a", encoding="utf-8", buffering=1) as log:
    while count < lines and not (stop_at and time.monotonic() >= stop_at[0]):
        log.write(f"{name} {count}\n")
        count += 1
        time.sleep(pause_seconds)
    log.write(f"{name} {count}")
Path("/dev/termination-log").write_text(str(count + 1), encoding="ascii")
