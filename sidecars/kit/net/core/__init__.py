"""What `kit.net` decides: pure functions of bytes and values, without a socket."""
