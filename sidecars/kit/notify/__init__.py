"""Notify an app by a signal, an HTTP request or a command; how that ended is a value (`core/outcome.py`)."""
