"""Which models the Hub has: the only question about many of them at once."""

from __future__ import annotations

from verify.config import HubQuery
from verify.connection import bound_session, explained


def listed(query: HubQuery) -> list[str]:
    """The ids of the models that fit the query, the most downloaded first, at most ``query.top``.

    The client of the Hub itself repeats each page five times, for half a minute.

    Raises:
        HubError: the Hub could not be reached, or refused to answer.

    """
    from huggingface_hub import HfApi

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
        return [model.id for model in found]
