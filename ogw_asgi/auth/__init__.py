"""EXTENSION: who is calling? `base` says what an authenticator is; `bearer` is the one that comes with the package."""
