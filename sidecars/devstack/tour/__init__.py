"""The scripted tour of the pod of compose.yaml."""
