"""From stored predictions to scores: kernels on exact counts and over scipy, and the bridge to `evaluate`."""

SCORER_VERSION = 1
"""Part of the key under which scores are stored: raised whenever a change here could change a score."""
