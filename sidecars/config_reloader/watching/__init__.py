"""The watched content: where it lies, when it changes, and a consistent snapshot of it."""
