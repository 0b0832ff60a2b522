"""Where the Hub holds its own safetensors conversion of a model whose weights are pickles alone.

The Hub's conversion bot opens a pull request under the title below, which anybody else may use, too: so its author is
what counts, as in ``transformers.safetensors_conversion``. Its branch holds the model's files with the converted ones
beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from verify.errors import HubError
from verify.hub.connection import TIMEOUT, bound_session, explained

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

BOT = "SFconvertbot"
TITLE = "Adding `safetensors` variant of this model"
CONVERTED = frozenset({"model.safetensors", "model.safetensors.index.json"})
LOOKED_AT = 3
"""The most pull requests whose files are listed, a request for each."""

_log = logging.getLogger(__name__)


def converted_revision(model: str, revision: str | None = None) -> str | None:
    """Return ``refs/pr/N``, the newest open conversion of the very pickles that ``revision`` (``main``) holds, or None.

    None also where the Hub cannot be reached or does not answer as expected: this is for a hint in a message. It takes
    two requests, and one for each pull request looked at.
    """
    from huggingface_hub import HfApi

    api = HfApi()

    def files(at: str | None) -> dict[str, str | None]:
        found = api.model_info(model, revision=at, files_metadata=True, timeout=TIMEOUT).siblings
        return _contents(found or ())

    try:
        with explained(f"the model {model}", revision):
            bound_session()
            discussions = api.get_repo_discussions(
                model, author=BOT, discussion_type="pull_request", discussion_status="open"
            )
            numbers = [
                one.num
                for one in islice(discussions, 10 * LOOKED_AT)
                if (one.author, one.title, one.status, one.is_pull_request) == (BOT, TITLE, "open", True)
                and isinstance(one.num, int)
            ]
            if not numbers:
                return None
            pickles = {name: content for name, content in files(revision).items() if name.endswith((".bin", ".pt"))}
            for number in sorted(numbers, reverse=True)[:LOOKED_AT]:
                reference = f"refs/pr/{number}"
                held = files(reference)
                if CONVERTED & held.keys() and pickles.items() <= held.items():
                    return reference
    except HubError as error:
        _log.info("No conversion of %s is known: %s", model, error)
    return None


def _contents(files: Iterable[RepoSibling]) -> dict[str, str | None]:
    """Git's digest of each file, or the large file's own."""
    return {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
