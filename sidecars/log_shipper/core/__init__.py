"""What the log shipper decides: pure functions and values, no clock, no loop, no I/O."""
