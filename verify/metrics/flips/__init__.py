"""How far numerical noise, which flips predictions, may move a metric."""
