"""What the Hub's replies may name: files, contents and commits that become paths in the cache, and addresses to go to.

``huggingface_hub`` makes a path of an ETag, of X-Repo-Commit, of a listed file's digest and name, and asks the address
that a reply gives for the next page, for the file itself or for a Xet token, with the user's access token where it is
the Hub's. It trusts them all, so each is checked here before the client sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from verify.errors import HubError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_TAG = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,200}")  # a file name of its own: git's digests, but mirrors have others
_HUB = re.compile(r"(.+\.)?(huggingface\.co|hf\.co)")
_PORTS = {"http": 80, "https": 443}


def is_plain(name: object) -> bool:
    """Whether a file's name leads to one place below its repository, as git's own names do."""
    if not isinstance(name, str) or not name or "\0" in name or name.startswith("/"):
        return False
    return not {"", ".", ".."} & {*name.split("/")}


def require_distinct(names: Iterable[str], all_names: Iterable[str]) -> None:
    """Raise HubError if two files cannot lie in one folder: ``names``, to be stored, also on disks that ignore case."""
    stored: dict[str, str] = {}
    for name in names:
        if "\\" in name:
            raise _refused(f"it lists a file {name[:100]!r}, which is a path on some systems")
        if (other := stored.setdefault(name.casefold(), name)) != name:
            raise _refused(f"it lists {other[:100]!r} and {name[:100]!r}, which are one file on some disks")
    known = {*all_names}
    for name in known:
        parts = name.split("/")
        if inside := next((folder for n in range(1, len(parts)) if (folder := "/".join(parts[:n])) in known), None):
            raise _refused(f"it lists {inside[:100]!r} both as a file and as a folder")


def require_headers(headers: Mapping[str, str], links: Mapping[str, Mapping[str, str]], url: str, method: str) -> None:
    """Raise HubError if a header of the reply to ``url`` names a path or an address that it must not.

    ``links`` are those of its Link header, by relation.
    """
    commit = headers.get("X-Repo-Commit")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise _refused(f"it names the commit {commit[:100]!r}", url)
    tags = [headers[name] for name in ("X-Linked-Etag", "ETag") if name in headers] if method == "HEAD" else []
    for tag in tags:
        if not _TAG.fullmatch(tag.removeprefix("W/").strip('"')):
            raise _refused(f"it names the content {tag[:100]!r}", url)
    content = headers.get("X-Xet-Hash")
    if content is not None and not _DIGEST.fullmatch(content):
        raise _refused(f"it names the content {content[:100]!r}", url)
    if "Location" in headers and urlsplit(urljoin(url, headers["Location"])).scheme not in _PORTS:
        raise _refused(f"it leads to {headers['Location'][:100]!r}", url)
    following = [links[kind]["url"] for kind in ("next", "xet-auth") if "url" in links.get(kind, {})]
    for target in [*following, *([headers["X-Xet-Refresh-Route"]] if "X-Xet-Refresh-Route" in headers else [])]:
        if not is_on_hub(urljoin(url, target), url):
            raise _refused(f"it leads to {target[:100]!r} for what the Hub itself should tell", url)
    if links.get("next", {}).get("url") is not None and urljoin(url, links["next"]["url"]) == url:
        raise _refused("the list that it begins goes on with itself", url)


def require_listing(content: Any, url: str) -> None:
    """Raise HubError if an answer in JSON lists files that cannot be in a repository, or contents that are no digests.

    It is looked for where the Hub's answers have them: ``sha`` and ``siblings`` of a repository, or a list of entries.
    """
    whole = content if isinstance(content, dict) else {}
    if isinstance(whole.get("sha"), str) and not _COMMIT.fullmatch(whole["sha"]):
        raise _refused(f"it names the commit {whole['sha'][:100]!r}", url)
    entries = content if isinstance(content, list) else whole.get("siblings")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        is_file = "rfilename" in entry or entry.get("type") in ("file", "directory")
        if not is_file:
            continue
        name = entry.get("rfilename", entry.get("path"))
        if not is_plain(name):
            raise _refused(f"it lists a file {str(name)[:100]!r}", url)
        large = entry["lfs"] if isinstance(entry.get("lfs"), dict) else {}
        digests = [entry.get("blobId"), entry.get("oid"), entry.get("xetHash"), large.get("oid"), large.get("sha256")]
        for digest in digests:
            if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
                raise _refused(f"it names the content {str(digest)[:100]!r} of {name}", url)


def is_on_hub(url: str, hub: str) -> bool:
    """Whether ``url`` is on the server of ``hub``, or on one of the Hub's own."""
    return _origin(url) == _origin(hub) or (urlsplit(url).scheme == "https" and is_own(url))


def is_own(url: str) -> bool:
    """Whether the host of ``url`` is the Hub's own, and no mirror."""
    return bool(_HUB.fullmatch((urlsplit(url).hostname or "").lower()))


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _refused(why: str, url: str | None = None) -> HubError:
    of = f"The reply to {url.partition('?')[0]}" if url else "The Hub's list of a model's files"
    return HubError(
        f"{of} cannot be used: {why}. The Hub itself does not answer so. Nothing of it was stored. Check HF_ENDPOINT "
        "and the proxy, then run again."
    )
