"""Metrics that are modules of the library evaluate, and what such a module is given."""
