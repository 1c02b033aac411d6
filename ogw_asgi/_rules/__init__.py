"""PURE: who is tried, what a failure means, what is left at the end. Every clock reading and every die is an argument."""
