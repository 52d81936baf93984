"""Tell the app: by a command, a signal or an HTTP request, and see that it took the content."""
