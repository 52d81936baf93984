"""Decides: PostgreSQL and Redis messages, which upstream is used, who waits; no clock, no loop, no I/O."""
