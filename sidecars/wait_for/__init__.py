"""Wait until what an app needs is there: ports, HTTP, names, files, sockets, PostgreSQL; then exit, or become the app.

    wait-for tcp://db:5432 'http://api/healthz?status=2xx' dns://db file:///shared/ready socket:///run/app.sock
    wait-for --timeout 60s postgres://db/shop -- python -m shop

Targets
- tcp://host:port (or host:port): accepts a connection.
- http://host[:port]/path, https://...: answers as wanted, options `status` (200,204 or 2xx or 200-299; 2xx when unset),
  `body` (regular expression found in it), `json` (path=value, or a path that exists), `method`, `header` (Name=value).
  Redirects are not followed. Other names in the query are sent; behind a # only options stand, and the query is sent
  untouched.
- dns://name: resolves. file:///path: exists; `min_bytes`, `contains`. socket:///path: a unix socket that accepts.
- postgres://[user@]host[:5432][/database]: takes connections, as pg_isready understands it; nobody logs in, so password
  and query of a DATABASE_URL are not used.
A value is percent-decoded: write %26 for & and %23 for #; a + is a plus.

Guarantees
- Each target is tried by itself, every attempt has its own limit: one that swallows packets, or a name server that
  hangs, delays no other target, not the time limit and not the exit.
- What can never work (a name that is none, a certificate that is refused) ends the waiting at once.
- What still blocks, and its last error, is in the log every `progress_seconds`, and at the end in the termination log,
  where `kubectl describe pod` shows it; so are settings that cannot be used.
- Nothing is written to stdout, and the command after `--` replaces this process: same PID, default signals.

Not guaranteed: what was ready once may be gone when the last target is ready. `stable_seconds` makes sure of each
target, not of all at the same moment.

Exit status: 0 ready (or that of the command after `--`), 1 timed out, 2 arguments that cannot be used, 3 can never
become ready, 126 and 127 the command cannot be run or is not there, 130 Ctrl-C, 143 SIGTERM.
"""
