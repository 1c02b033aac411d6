"""Programs to start from. Every one of them is run by the test suite."""
