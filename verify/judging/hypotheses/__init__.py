"""The registry of hypotheses: what is tried, in which order, when a claim and its rerun disagree."""
