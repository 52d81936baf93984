"""Adapters used by at least two sidecars. Code moves here at its second user, never at its first; nothing here knows
a sidecar.
"""
