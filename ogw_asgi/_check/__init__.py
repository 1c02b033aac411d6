"""`python -m ogw_asgi check`: what is in force, where each setting comes from, what is wrong, and who answers."""
