"""The command line: flags, help, reference, schema, the verbs, and printing for people."""
