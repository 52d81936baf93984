"""What secret-sync decides, without clock, loop, log, chance or I/O."""
