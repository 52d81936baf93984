"""To a node, and in TLS: the leg that data and checks take alike."""
