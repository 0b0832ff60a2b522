"""Whether another project lies where this one is installed: the package index has one of the same import name."""

from __future__ import annotations

from importlib.metadata import Distribution, distributions

from verify.errors import InstallationError

OWN, OTHER = "verify-claims", "verify"
_PACKAGE = "verify/__init__.py"


def require_own_package() -> None:
    """Raise InstallationError if the project called ``verify`` has written files among those of this one.

    Whichever was installed last has overwritten the other's, and removing one leaves the other broken.
    """
    for other in filter(_holds_the_package, distributions(name=OTHER)):
        raise InstallationError(
            f"Another project, {OTHER} {other.version} of the package index, is installed beside {OWN} and has the "
            f"same import name, so the files of the two are mixed up. Remove both and install this one again: "
            f"pip uninstall {OTHER} {OWN}, then pip install {OWN}."
        )


def _holds_the_package(other: Distribution) -> bool:
    """Whether a distribution lists the package's own file; one that was installed from a checkout lists no file."""
    return any(file.as_posix() == _PACKAGE for file in other.files or ())
