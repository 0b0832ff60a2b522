"""Benchmark tasks: YAML files, their registry, matching a claim to a task, and loading the data."""
