"""Notify the app by a command, a signal or an HTTP request, and confirm that it took the content."""
