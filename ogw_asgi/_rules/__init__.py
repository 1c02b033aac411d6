"""PURE: who is tried, what a failure means, what is left at the end. Clock readings and dice are arguments."""
