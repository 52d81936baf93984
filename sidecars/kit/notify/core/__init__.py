"""What is decided when an app is notified: pure, without a clock, a loop or a socket."""
