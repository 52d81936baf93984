"""A stand-in for Vault: logins, tokens, leases, KV, PKI, databases, wrapping and quotas, with scripted faults."""
