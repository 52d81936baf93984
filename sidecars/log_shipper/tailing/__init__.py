"""The reading side: find log files, follow them through rotation, read their lines. Knows nothing of Elasticsearch."""
