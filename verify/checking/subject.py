"""A model as it is loaded: its repository and, of an adapter, its base's, through the gate, fetched and identified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

from verify.checking.scoring import Subject
from verify.configuration.schema import VerifyConfig
from verify.errors import BlockedError, HubError
from verify.hub import models
from verify.hub.adapters import CONFIG, read_adapter
from verify.hub.conversion import converted_revision
from verify.hub.repository import Base, json_object
from verify.hub.states import states_of
from verify.hub.weights import has_only_pickles


@dataclass(frozen=True)
class Loadable:
    """A repository that has passed the gate, with the ``base`` that it is laid over if it is an adapter."""

    repository: models.ModelRepository
    base: models.ModelRepository | None = None

    @property
    def parts(self) -> tuple[models.ModelRepository, ...]:
        return (self.repository,) if self.base is None else (self.repository, self.base)


def gated(repository: models.ModelRepository, config: VerifyConfig) -> Loadable:
    """The repository with its base, if it may be loaded as ``config`` allows; weights need not be here yet.

    Raises:
        BlockedError: it may not (:func:`verify.hub.safety.check_safety`), nor its base, or PEFT is not installed.
        HubError: the base cannot be found or read.

    """
    repository = _checked(replace(repository, allows_pickle=config.allow_pickle))
    if not repository.is_adapter:
        return Loadable(repository)
    if find_spec("peft") is None:
        raise BlockedError(
            f"{repository} is an adapter ({CONFIG}), which is laid over its base model by PEFT. Install that: "
            "pip install 'verify-claims[peft]'."
        )
    base = replace(_base_of(repository, config.base), allows_pickle=config.allow_pickle)
    if base.is_adapter:
        raise BlockedError(
            f"{repository} is an adapter whose base, {base}, is an adapter, too. Name the model below both with "
            "base=ORG/NAME if that is what it was trained on, or check a merged copy."
        )
    return Loadable(repository, _checked(base))


def fetched(loadable: Loadable) -> Loadable:
    """The same with all files that a load opens at hand, and through the gate with them. Raises as :func:`gated`."""
    parts = [models.fetch_weights(part) for part in loadable.parts]
    for part in parts:
        models.check_safety(part)
    return Loadable(*parts)


def subject_of(loadable: Loadable) -> Subject:
    """The fetched model with digests of all files that a load opens; raises as :func:`verify.hub.models.digests`."""
    repository, base = loadable.repository, loadable.base
    states: dict[str, tuple[int, ...]] = {}
    for part in loadable.parts:
        states |= states_of(part.folder, models.loaded_files(part))
    digests, laid_over = models.digests(repository), None
    if base is not None:
        digests |= {f"base_{name}": digest for name, digest in models.digests(base).items()}
        laid_over = Base(reference_to(base), base.folder, models.loaded_files(base))
    return Subject(
        repository.model,
        repository.revision,
        repository.folder,
        digests,
        models.loaded_files(repository),
        base=laid_over,
        states=states,
    )


def reference_to(repository: models.ModelRepository) -> str:
    """What finds the repository again, at the same commit."""
    if repository.is_local:
        return str(repository.folder.resolve())
    return f"{repository.model}@{repository.revision}"


def _checked(repository: models.ModelRepository) -> models.ModelRepository:
    """The repository, if it passes the gate. A refusal of pickles names the Hub's own conversion where there is one."""
    try:
        models.check_safety(repository)
    except BlockedError as error:
        converted = None
        if has_only_pickles(repository) and not repository.is_local:
            converted = converted_revision(repository.model, repository.revision)
        if converted is None:
            raise
        raise BlockedError(
            f"{error} The Hub holds a conversion of these very files: {repository.model}@{converted}."
        ) from error
    return repository


def _base_of(repository: models.ModelRepository, given: str | None) -> models.ModelRepository:
    """The base that the user gives, else the one that the adapter names, which can only be on the Hub."""
    if given is not None:
        return models.resolve(given)
    adapter = read_adapter(json_object(repository, CONFIG), str(repository))
    if adapter.base is None or not _is_id(adapter.base):
        named = "no base model" if adapter.base is None else f"{adapter.base[:80]!r} as its base model"
        raise BlockedError(
            f"{repository} is an adapter, and its {CONFIG} names {named}, which is no model on the Hub. Files that a "
            "repository names elsewhere are not opened: name the base yourself with base=ORG/NAME or base=./folder."
        )
    try:
        return models.on_hub(adapter.base, adapter.revision)
    except HubError as error:
        raise HubError(
            f"The base of the adapter {repository} is not at hand: {error} If the base is elsewhere, name it with "
            "base=ORG/NAME or base=./folder."
        ) from error


def _is_id(name: str) -> bool:
    """Whether a name can be that of a model on the Hub: ORG/NAME, or one of the old ones without an owner (gpt2)."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
