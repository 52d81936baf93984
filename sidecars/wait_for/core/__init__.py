"""What wait-for decides: pure, without a clock, a loop or a socket."""
