"""Which models the Hub has: the only question about many of them at once."""

from __future__ import annotations

from verify.configuration.schema import HubQuery
from verify.errors import HubError
from verify.hub.connection import bound_session, explained


def listed(query: HubQuery) -> list[str]:
    """The ids of the models that fit the query, the most downloaded first, at most ``query.top``.

    The client of the Hub itself repeats each page five times, for half a minute.

    Raises:
        HubError: the Hub could not be reached, refused to answer, or named something that is no id of a model, which
            might be taken for a folder.

    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    with explained("the list of models", None):
        bound_session()
        found = HfApi().list_models(
            author=query.author,
            pipeline_tag=query.task,
            filter=query.tags or None,
            search=query.search,
            sort="downloads",
            limit=query.top,
        )
        models = [model.id for model in found]
        for model in models:
            try:
                validate_repo_id(model)
            except HFValidationError as error:
                raise HubError(f"The Hub's list of models names {model[:80]!r}, which is no id of a model.") from error
        return models
