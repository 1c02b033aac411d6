"""What the environment says: the arguments of a gateway, whence each comes, and what is wrong with them (section 8)."""
