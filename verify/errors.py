"""Errors that a user can act on.

Each message is one paragraph: what went wrong, where, and what to do next. The command line prints the message without
a traceback and exits with :attr:`VerifyError.exit_code`.
"""


class VerifyError(Exception):
    """Base of every expected failure; ``exit_code`` 4 means that the run failed, not that a claim did."""

    exit_code = 4


class UsageError(VerifyError):
    """The command line, the configuration or a task file is wrong."""

    exit_code = 2


class HubError(VerifyError):
    """A repository, a file or the Hub itself could not be reached or read."""


class DataError(VerifyError):
    """A data set could not be loaded, or lacks what the task says that it has."""


class NotComparableError(VerifyError):
    """The claim cannot be checked with what is at hand: other labels, no references, other data than claimed."""

    exit_code = 3


class EngineError(VerifyError):
    """Inference failed."""


class StoreError(VerifyError):
    """The results folder could not be read or written."""


class BlockedError(VerifyError):
    """The model is refused: it would run foreign code, or its weights do not fill its head."""

    exit_code = 3


class InstallationError(VerifyError):
    """What is installed is not this project alone."""
