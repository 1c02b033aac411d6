"""I/O: drives the rules with anyio. Knows transports and providers by their bases only; nothing of ASGI."""
