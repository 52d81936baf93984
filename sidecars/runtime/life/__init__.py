"""The life of a process, from its start to its exit status."""
