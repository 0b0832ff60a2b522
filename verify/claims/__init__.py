"""Reading claims out of a model repository: pure functions from text to :class:`verify.types.Claim`."""
