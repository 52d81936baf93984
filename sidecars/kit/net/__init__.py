"""Connections that are passed through: listen, resolve, connect, and relay bytes between two legs.

No asyncio streams or transports: they cannot half-close TLS, and one idle TLS connection costs them 300 KiB
(python/cpython#109534). Here a leg is a non-blocking socket, all legs share one epoll and one receive buffer, and the
loop is woken once for everything that is ready.
"""
