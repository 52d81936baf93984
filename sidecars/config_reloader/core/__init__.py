"""What the config reloader decides, without clock, loop, log or I/O."""
