"""EXTENSION: how bytes reach a provider. `base` is the seam; every other file is one engine behind it."""
