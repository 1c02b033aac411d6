"""Servers as processes: what SIGTERM and a killed worker do to live streams."""
