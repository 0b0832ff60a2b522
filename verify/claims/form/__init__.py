"""The form of a model card: its document, front matter, grids of cells, and the numbers in them."""
