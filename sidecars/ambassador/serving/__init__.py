"""Takes local connections, and brings each to its end."""
