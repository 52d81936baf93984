"""The pod of compose.yaml, brought up for a person, and the scripted tour of it."""
