"""Asks a node whether it works, and for its role."""
