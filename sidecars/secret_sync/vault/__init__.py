"""Vault and OpenBao as the provider: the only folder that knows their HTTP interface and hvac."""
