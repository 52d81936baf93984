"""From the watched files to the files that the app reads."""
