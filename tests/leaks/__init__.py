"""What thousands of streams, a third of them abandoned, leave behind: no socket, no task, no slot, no memory.

`python -m tests.leaks` runs the full sizes and prints a table; benchmarks/leaks.md holds one.
"""
