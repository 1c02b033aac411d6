"""EXTENSION: who is calling? `base` says what an authenticator is; `bearer` and `anyone` come with the package."""
