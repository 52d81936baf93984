"""Embedded stand-ins for the servers the sidecars talk to: for the demo, and for fault injection in the tests.

They exist because a real server cannot be told to cut a connection just after it stored a batch. Each stand-in passes
the same contract tests as the real server it stands for (`tests/services`). No sidecar imports anything from here.
"""
