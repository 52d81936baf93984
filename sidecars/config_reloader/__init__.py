"""Notify the app of a new configuration: after validating it, in order, and confirming that it took effect.

Watches mounted volumes (ConfigMap, Secret, projected), folders, files and globs. When the content changed, it is rolled
out: render, validate, publish, notify (signal, webhook, exec), confirm.

Guarantees
- No change is missed: events are hints, the truth is a hash of the content, read through one open handle, so that half
  of an update is never seen. What changed while the sidecar was down is rolled out at its start (state_file).
- Nobody is notified twice or without need: identical content, other modes, keys that are not watched, a restart.
- The newest content wins, for each target by itself: a target that answers hears of it at once, a target that is still
  busy with the former content hears of it next, and a request without an answer for 2 s is given up for it.
- The app is never notified of content that a validator rejected; with `render`, it goes on reading the last good one.
- A process is signalled only when it is the right one and handles the signal: a signal without a handler kills.
- The start never waits for the app, so a startup probe of a native sidecar cannot deadlock.

Not guaranteed: after a crash of the sidecar in the middle of a rollout the app may be notified of that content again.

Where things are: `core/rollout.py` decides (events in, actions out), `agent.py` carries out, `watching/` takes the
snapshots, `rendering/` writes the folder that the app reads, `notifying/` and `kit.notify` attempt the steps.

Exit status: 0 stopped by SIGTERM, SIGINT or POST /quit, always; 1 crashed, the last log line says why; 2 the settings
cannot be used. With --once: 0 the content is good, 1 it is not, 143 or 130 interrupted.

Stop order: at once. What is pending is not in the state file, so the next start rolls it out.
"""
