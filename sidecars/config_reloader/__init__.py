"""Notify the app of a new configuration: after validating it, in order, and confirming that it took effect.

Watches mounted volumes (ConfigMap, Secret, projected), folders, files and globs. When the content changed,
it does the steps: validate, signal, webhook, exec, confirm.

Guarantees
- No change is missed: events are hints, the truth is a hash of the content, read through one open handle, so
  that half of an update is never seen. What changed while the sidecar was down is told at its start (state_file).
- Nothing is told twice or without need: identical content, other modes, keys that are not watched, a restart.
- The newest content wins, for each target by itself: who answers is told it at once, who is still being told the former
  one is told it next, and a request that has no answer for 2 s is given up for it.
- Content that the validator refuses is never told; with `render`, the app goes on reading the last good one.
- A process is signalled only when it is the right one and handles the signal: a signal without a handler kills.
- It never waits for the app at the start, so a startup probe of a native sidecar cannot deadlock.

Not guaranteed: the app may be told the same content again after a crash of the sidecar in the middle of a reload.

Exit status: 0 stopped by SIGTERM, SIGINT or POST /quit, always; 1 crashed, the last log line says why; 2 the settings
cannot be used. With --once: 0 the content is good, 1 it is not, 143 or 130 interrupted.

Stop order: at once. What is pending is not in the state file, so the next start tells it.
"""
