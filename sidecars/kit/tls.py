"""Whom our TLS clients trust: the authorities of a file, or the system's; the server is always verified."""

import ssl


def trusting(authorities: str | None) -> ssl.SSLContext:
    """Return a context for a client that trusts these authorities (PEM), or the system's for None.

    Not ssl.create_default_context: for an empty text it would trust the system's authorities instead, and since Python
    3.13 it refuses authorities without a key identifier (VERIFY_X509_STRICT), as many clusters have them. Raises
    ValueError (ssl.SSLError) when the text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authorities or "-")
    return context
