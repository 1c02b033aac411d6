"""Programs to run and to copy from; `python -m example_apps.demo` is the one to start with."""
