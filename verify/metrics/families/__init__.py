"""The metrics of each family of predictions."""
