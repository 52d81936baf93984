"""What is seen of a sidecar from outside: health, logs, metrics, traces, the admin endpoint."""
