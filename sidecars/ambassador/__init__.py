"""The remote database on localhost: the app connects in plain text, the ambassador does TLS, failover and waiting.

Each listener has upstreams, which are checked over the same TLS that the data takes. A local connection goes to the
best upstream of the wanted role; while there is none it is parked, and then answered correctly. Bytes are passed
through unread, but for the login of PostgreSQL.

Guarantees:
- Nothing of the app is sent in plain text where TLS is set, nor before the server has shown a certificate that fits.
- No connection ever goes to an upstream of another role than the listener's, not even when no other one is left; the
  sessions on a node that changes its role are ended within one check.
- A query is cancelled at the node where it runs, or nowhere.
- An end of one direction, and a reset, go through as what they are.
- Every connection that has ended is one line of log, with the side and the cause, from a closed list.

Not guaranteed: a statement that was sent when its session breaks may have been done or not; only the app can know.
Two nodes that both say to be the primary: the one that was it for longer without a break is used.

Stop: it keeps accepting. A native sidecar ends when the last client has gone, an ordinary one when there was none for
a while; both end what is left 2 s before the grace is over.

The five nouns: a *listener* takes *local connections*; each becomes a *session* on a *node* of an *upstream*.
"""
