"""Check what a model card claims: read the claims, rerun the evaluation, judge each claim.

Start with :mod:`verify.types`; the command line is :mod:`verify.cli.main`.
"""

__version__ = "0.1.0"
