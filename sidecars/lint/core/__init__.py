"""Decide: pods as values, and the rules that look at them. Pure."""
