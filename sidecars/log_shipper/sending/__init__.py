"""The sending side: delivers batches to Elasticsearch or another output, and keeps what is refused."""
