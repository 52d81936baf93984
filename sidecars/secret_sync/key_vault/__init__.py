"""Azure Key Vault as the provider, over its REST interface: the official client costs 30 MiB that no sidecar needs."""
