"""EXTENSION: what observers are told. `events` has the events and the one-method Protocol; a sink has its own file."""
