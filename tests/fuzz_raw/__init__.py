"""Requests that no client would send, raw at four servers: the table of F60, and the same bytes mutated at random."""
