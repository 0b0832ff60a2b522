"""Probes: settings that can only be tried by running the model again, where no stored prediction explains a claim."""
