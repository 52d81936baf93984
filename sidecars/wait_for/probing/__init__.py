"""One module for each kind of target: what tries it."""
