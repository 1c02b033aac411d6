"""Tests of the stores that keep circuits and budgets."""
