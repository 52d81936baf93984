"""A stand-in for Elasticsearch: the part of its REST interface that is needed, with scripted faults."""
