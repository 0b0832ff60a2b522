"""The package for programs and notebooks: the verbs as functions that print nothing, and what they return."""
