"""A small Azure Key Vault, with the endpoints that give tokens for it."""
