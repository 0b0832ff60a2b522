"""Earlier commits of a model on the Hub, of which a card may speak."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from verify.hub.connection import TIMEOUT, TRANSIENT, explained, is_unreachable, patiently
from verify.hub.models import is_claims_text, is_small_text

COMMITS_LOOKED_AT = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """An earlier state of a model repository: its commit (40 hexadecimal digits) and the day on which it was made."""

    commit: str
    day: str

    def __str__(self) -> str:
        return f"{self.commit[:12]} of {self.day}"


def earlier_revisions(model: str, revision: str, most: int = 3) -> list[Earlier]:
    """Return up to ``most`` earlier commits with other weights, configuration or tokeniser than any later one.

    The newest comes first; only the last 50 commits before ``revision`` are looked at. There are none where the Hub
    cannot be reached.

    Raises:
        HubError: the repository or the revision does not exist, or access is refused.

    """
    from huggingface_hub import HfApi

    api, found = HfApi(), list[Earlier]()
    states: list[frozenset[tuple[str, str | None]]] = []
    with explained(f"the model {model}", revision):
        try:
            commits = patiently(lambda: api.list_repo_commits(model, revision=revision), TRANSIENT)
            for commit in commits[: COMMITS_LOOKED_AT + 1]:
                state = patiently(partial(_state, model, commit.commit_id), TRANSIENT)
                if state not in states and states:
                    found.append(Earlier(commit.commit_id, f"{commit.created_at:%Y-%m-%d}"))
                states.append(state)
                if len(found) == most:
                    break
        except Exception as error:
            if not is_unreachable(error):
                raise
            _log.warning("The Hub could not be reached; earlier revisions of %s are not known", model)
    return found


def _state(model: str, commit: str) -> frozenset[tuple[str, str | None]]:
    """The names and contents (git's digests) of what decides the predictions at one commit."""
    from huggingface_hub import HfApi

    files = HfApi().model_info(model, revision=commit, files_metadata=True, timeout=TIMEOUT).siblings or ()
    decisive = [file for file in files if is_small_text(file.rfilename) or file.rfilename.endswith(".safetensors")]
    return frozenset((file.rfilename, file.blob_id) for file in decisive if not is_claims_text(file.rfilename))
