"""From a claim and a measurement to a verdict: pure functions."""
