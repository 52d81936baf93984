"""The app of compose.yaml: a coffee shop."""
