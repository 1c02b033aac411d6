"""DOOR: knows ASGI; knows no provider and no HTTP client."""
