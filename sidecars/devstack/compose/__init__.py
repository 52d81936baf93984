"""The pod of compose.yaml on this machine, for a person or for the tour."""
