"""One module for each kind of model, with what only it needs."""
