"""Fetch secrets from Vault into a memory volume, renew them, and notify the app: whole generations of files at a time.

One pure state machine (`core/sync.py`) says what to ask of the provider next; `vault/` asks; `publishing/` writes the
files of a target folder as one generation, switched by one rename; then the app is notified.

Guarantees:
- A failed renewal never leads to a new credential while the old lease lives; there is at most one request in flight for
  each secret, and in trouble at most one a second in all.
- All files of a target change together: key, certificate and chain are of one issue, and fit each other.
- What was read stays when the provider is away, denies, or has deleted it; /readyz and /status say so.
- No value of a secret is in the log, the metrics, /status or an error.

Not guaranteed: a value that was read and could not be written (the volume is full, the process killed in between) may
be issued once more. What ends with a token ends with it, however long its own lease is said to be.

Stop: the loop, then, in a native sidecar (the app is gone by then), the token and its leases are revoked, and the files
removed where that is set.

The five nouns: a *secret* is read from the *provider*, has perhaps a *lease*, is written into a *target* as part of a
*generation*.
"""
