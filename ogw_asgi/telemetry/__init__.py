"""EXTENSION: what observers are told. `events` has the events and the one-method Protocol; every sink has its own file."""
