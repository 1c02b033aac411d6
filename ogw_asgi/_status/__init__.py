"""The status page: what is shown, and how it looks. Pure but for `desk`, which asks the gateway how it stands."""
