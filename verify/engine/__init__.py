"""Rerunning inference: the plan of batches, the loop, and one module per kind of model."""
