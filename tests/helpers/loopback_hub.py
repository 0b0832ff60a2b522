"""A Hub on 127.0.0.1 that serves a folder tree to the real clients over HTTP, with faults on demand.

``ROOT/models/ORG/NAME`` and ``ROOT/datasets/ORG/NAME`` are the branch ``main`` of a repository; ``ORG/NAME@BRANCH``
beside it is another branch. Every state of a folder has a commit of its own; a state served before stays reachable only
through ``add_revision``. Use it from a subprocess, because huggingface_hub reads HF_ENDPOINT and HF_HOME on import::

    with LoopbackHub(root) as hub:
        hub.fail("models/org/name", status=503, times=2)
        subprocess.run([sys.executable, "-c", code], env=hub.environment(home))
        print([request.path for request in hub.requests])

``where`` in :meth:`LoopbackHub.fail` and :meth:`LoopbackHub.cut` is ``models/ORG/NAME`` (all about the repository),
``models/ORG/NAME/FILE`` (the file at every revision), ``api/models/ORG/NAME`` (look-ups only) or ``api/models`` (the
list of models, which comes in pages of three).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

LARGE = (".safetensors", ".bin", ".pt", ".h5", ".onnx", ".parquet", ".model")  # stored as LFS objects
PAGE = 3
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SYSTEMROOT", "VERIFY_SECRET")


@dataclass(frozen=True)
class Request:
    """What one client asked, and the HTTP status that it got."""

    method: str
    path: str
    range: str | None
    status: int


@dataclass
class _Fault:
    where: str
    methods: tuple[str, ...]
    times: int | None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    reset: bool = False
    ignore_range: bool = False


class LoopbackHub:
    """Serve ``root`` while the ``with`` block runs; ``url`` is the endpoint, ``requests`` the log of what was asked.

    ``missing_status`` is the answer for unknown repositories: 404, or 401 as the Hub gives it without a token.
    """

    def __init__(self, root: Path, *, missing_status: int = 404) -> None:
        self.root = root.resolve()
        self.missing_status = missing_status
        self.requests: list[Request] = []
        self._faults: list[_Fault] = []
        self._gated: dict[str, int] = {}
        self._revisions: dict[tuple[str, str], Path] = {}
        self._history: dict[str, list[tuple[str, str]]] = {}
        self._described: dict[str, tuple[int, str | None, tuple[str, ...]]] = {}
        self._discussions: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> LoopbackHub:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening: from now on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: Path, **extra: str) -> dict[str, str]:
        """Return the environment of a subprocess that knows only this Hub, with its cache in ``home`` and no token."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "VERIFY_HUB_MAX_WAIT": "0.05",
            **extra,
        }

    def add_revision(self, repository: str, name: str, folder: Path) -> str:
        """Serve ``folder`` as the branch or tag ``name`` of ``models/ORG/NAME``, and return its commit."""
        self._revisions[repository, name] = folder.resolve()
        return _commit(folder.resolve())

    def commit(self, repository: str, revision: str = "main") -> str:
        """Return the commit (40 hexadecimal digits) of a branch of ``models/ORG/NAME``."""
        return _commit(self.branches(repository)[revision])

    def add_history(self, repository: str, folder: Path, day: str = "2025-01-01") -> str:
        """Make ``folder`` the commit before all earlier ones of ``models/ORG/NAME``, and return its name."""
        commit = _commit(folder.resolve())
        self._revisions[repository, commit] = folder.resolve()
        self._history.setdefault(repository, []).append((commit, day))
        return commit

    def describe(self, repository: str, downloads: int, task: str | None = None, tags: tuple[str, ...] = ()) -> None:
        """Say what the list of models, ``/api/models``, tells of ``models/ORG/NAME``."""
        self._described[repository] = (downloads, task, tags)

    def discuss(
        self, repository: str, title: str, author: str, status: str = "open", folder: Path | None = None
    ) -> int:
        """Open a discussion of ``models/ORG/NAME``, a pull request if a ``folder`` has its files; return its number."""
        opened = self._discussions.setdefault(repository, [])
        kind, name = repository.split("/", 1)
        number = len(opened) + 1
        if folder is not None:
            self.add_revision(repository, f"refs/pr/{number}", folder)
        opened.append(
            {
                "num": number,
                "title": title,
                "author": {"name": author},
                "status": status,
                "createdAt": "2026-01-01T00:00:00.000Z",
                "repo": {"name": name, "type": kind.removesuffix("s")},
                "isPullRequest": folder is not None,
            }
        )
        return number

    def gate(self, repository: str, status: int = 403) -> None:
        """Refuse every file of ``models/ORG/NAME``, as for a client that has not accepted its terms."""
        self._gated[repository] = status

    def fail(
        self,
        where: str,
        status: int,
        times: int | None = None,
        headers: Mapping[str, str] | None = None,
        methods: tuple[str, ...] = ("GET", "HEAD", "POST"),
    ) -> None:
        """Answer the next ``times`` requests (None: every one) with an HTTP status, such as 429 with Retry-After."""
        self._faults.append(_Fault(where, methods, times, status=status, headers=headers or {}))

    def cut(
        self, where: str, after: int, times: int | None = 1, *, reset: bool = False, ignore_range: bool = False
    ) -> None:
        """Close the connection once the byte ``after`` of a file is sent: ``times`` times, or always (None).

        ``reset`` ends it with a TCP reset instead of an orderly close; ``ignore_range`` answers a range request with
        the whole file from its start.
        """
        self._faults.append(_Fault(where, ("GET",), times, after=after, reset=reset, ignore_range=ignore_range))

    def branches(self, repository: str) -> dict[str, Path]:
        """Return the folder of every branch and tag; empty for an unknown repository."""
        kind, *names = repository.split("/")
        if kind not in ("models", "datasets") or len(names) != 2 or not all(_NAME.fullmatch(name) for name in names):
            return {}
        home = self.root / kind / names[0]
        found = {}
        for folder in sorted(home.glob(f"{names[1]}*")) if home.is_dir() else ():
            name, _, branch = folder.name.partition("@")
            if name == names[1] and folder.is_dir():
                found[branch or "main"] = folder
        found.update({name: folder for (owner, name), folder in self._revisions.items() if owner == repository})
        return found

    def _fault(self, method: str, key: str) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                hit = key in (fault.where, f"api/{fault.where}") or key.startswith(f"{fault.where}/")
                if hit and method in fault.methods and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts == ["api", "models"]:
            self._list()
            return
        if parts[0] == "api" and len(parts) >= 4:
            repository, rest = "/".join(parts[1:4]), parts[4:]
            answer, key = self._api, f"api/{repository}"
        else:
            parts = parts if parts[0] == "datasets" else ["models", *parts]
            repository, rest = "/".join(parts[:3]), parts[3:]
            answer, key = self._file, "/".join([repository, *rest[2:]])
        fault = self.hub._fault(self.command, key)
        if fault and fault.status:
            self._send(fault.status, json.dumps({"error": f"HTTP {fault.status}"}).encode(), **fault.headers)
        elif not self.hub.branches(repository):
            self._refuse(self.hub.missing_status, "RepoNotFound" if self.hub.missing_status == 404 else None)
        else:
            answer(repository, rest, fault)

    def _list(self) -> None:
        fault = self.hub._fault(self.command, "api/models")
        if fault and fault.status:
            return self._send(fault.status, json.dumps({"error": f"HTTP {fault.status}"}).encode(), **fault.headers)
        query = parse_qs(urlsplit(self.path).query)
        asked = {name: query[name][0] for name in query}
        found = []
        for folder in (self.hub.root / "models").glob("*/*"):
            name = f"{folder.parent.name}/{folder.name}"
            downloads, task, tags = self.hub._described.get(f"models/{name}", (0, None, ()))
            fits = (
                "@" not in name,
                asked.get("author", folder.parent.name) == folder.parent.name,
                asked.get("pipeline_tag", task) == task,
                set(query.get("filter", [])) <= {*tags},
                asked.get("search", "").casefold() in name.casefold(),
            )
            if all(fits):
                found.append({"_id": "0" * 24, "id": name, "downloads": downloads, "pipeline_tag": task, "tags": tags})
        if asked.get("sort") == "downloads":
            found.sort(key=lambda one: -int(str(one["downloads"])))
        first = int(asked.get("cursor", 0))
        end = first + min(int(asked.get("limit", PAGE)), PAGE)
        following = urlencode({**query, "cursor": [end]}, doseq=True)
        link = {"Link": f'<{self.hub.url}/api/models?{following}>; rel="next"'} if end < len(found) else {}
        return self._send(200, json.dumps(found[first:end]).encode(), **link)

    def _api(self, repository: str, rest: list[str], fault: _Fault | None) -> None:
        branches = self.hub.branches(repository)
        kind = rest[0] if rest else "revision"
        if kind == "refs":
            return self._refs(branches)
        if kind == "discussions":
            return self._discuss(repository)
        if kind not in ("revision", "tree", "paths-info", "commits"):
            return self._refuse(404, "EntryNotFound")
        folder = self._folder(repository, rest[1] if len(rest) > 1 else "main")
        if folder is None:
            return self._refuse(404, "RevisionNotFound")
        if kind == "commits":
            return self._json(_log_of([(_commit(folder), "2026-01-01"), *self.hub._history.get(repository, [])]))
        files = _files(folder)
        if kind == "tree":
            return self._tree(folder, files, "/".join(rest[2:]))
        if kind == "paths-info":
            return self._json([_entry(name, files) for name in self._asked_paths() if _exists(name, files)])
        name = repository.partition("/")[2]
        return self._json(
            {
                "_id": "0" * 24,
                "id": name,
                "modelId": name,
                "sha": _commit(folder),
                "private": False,
                "gated": "manual" if repository in self.hub._gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "createdAt": "2026-01-01T00:00:00.000Z",
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [
                    {"rfilename": name, "size": path.stat().st_size, "blobId": _blob(path)}
                    for name, path in files.items()
                ],
            }
        )

    def _refs(self, branches: dict[str, Path]) -> None:
        requests = {name: folder for name, folder in branches.items() if name.startswith("refs/pr/")}
        heads = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": _commit(folder)}
            for name, folder in branches.items()
            if name not in requests
        ]
        answer: dict[str, Any] = {"branches": heads, "tags": [], "converts": []}
        if "include_prs" in parse_qs(urlsplit(self.path).query):
            answer["pullRequests"] = [
                {"name": name.removeprefix("refs/pr/"), "ref": name, "targetCommit": _commit(folder)}
                for name, folder in requests.items()
            ]
        return self._json(answer)

    def _discuss(self, repository: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        found = [
            one
            for one in reversed(self.hub._discussions.get(repository, []))
            if asked.get("author", one["author"]["name"]) == one["author"]["name"]
            and asked.get("status", "all") in ("all", one["status"])
            and asked.get("type", "all") in ("all", "pull_request" if one["isPullRequest"] else "discussion")
        ]
        start = PAGE * int(asked.get("p", 0))
        return self._json({"discussions": found[start : start + PAGE], "count": len(found), "start": start})

    def _tree(self, folder: Path, files: dict[str, Path], base: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        prefix = f"{base}/" if base else ""
        below = [name for name in files if name.startswith(prefix)]
        if base and not below:
            return self._refuse(404, "EntryNotFound")
        names = set()
        for name in below:
            steps = name.removeprefix(prefix).split("/")
            depth = len(steps) if recursive else 1
            names |= {prefix + "/".join(steps[: n + 1]) for n in range(depth)}
        return self._json([_entry(name, files) for name in sorted(names)])

    def _asked_paths(self) -> list[str]:
        if "json" in self.headers.get("Content-Type", ""):
            return list(json.loads(self._body)["paths"])
        return parse_qs(self._body.decode()).get("paths", [])

    def _file(self, repository: str, rest: list[str], fault: _Fault | None) -> None:
        if len(rest) < 3 or rest[0] != "resolve":
            return self._refuse(404, "EntryNotFound")
        folder = self._folder(repository, rest[1])
        if folder is None:
            return self._refuse(404, "RevisionNotFound")
        if repository in self.hub._gated:
            return self._refuse(self.hub._gated[repository], "GatedRepo")
        path = _files(folder).get("/".join(rest[2:]))
        commit = {"X-Repo-Commit": _commit(folder)}
        if path is None:
            return self._refuse(404, "EntryNotFound", **commit)
        size = path.stat().st_size
        large = path.name.endswith(LARGE)
        tag = f'"{_sha256(path) if large else _blob(path)}"'
        headers = {**commit, "ETag": tag, "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-Etag": tag, "X-Linked-Size": str(size)}
        start, end, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and not (fault and fault.ignore_range):
            first, last = asked.groups()
            start = int(first) if first else max(0, size - int(last))
            end = min(size, int(last) + 1) if first and last else size
            if start >= end:
                return self._send(416, **{"Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            status = 206
        stop = end if fault is None or fault.after is None else max(start, min(end, fault.after))
        self._head(status, end - start, "application/octet-stream", headers)
        if self.command != "HEAD":
            with path.open("rb") as file:
                file.seek(start)
                while start < stop and (chunk := file.read(min(1 << 20, stop - start))):
                    self.wfile.write(chunk)
                    start += len(chunk)
        if stop < end and self.command != "HEAD":
            self.wfile.flush()
            if fault is not None and fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True
        return None

    def _folder(self, repository: str, revision: str) -> Path | None:
        branches = self.hub.branches(repository)
        by_commit = {_commit(folder): folder for folder in branches.values()}
        return branches.get(revision) or by_commit.get(revision)

    def _refuse(self, status: int, code: str | None, **headers: str) -> None:
        error = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self._send(status, json.dumps({"error": code or "Invalid username or password."}).encode(), **error, **headers)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode())

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self._head(status, len(body), "application/json", headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, kind: str, headers: Mapping[str, str]) -> None:
        with self.hub._lock:
            self.hub.requests.append(Request(self.command, unquote(self.path), self.headers.get("Range"), status))
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _files(folder: Path) -> dict[str, Path]:
    """Return the regular files below ``folder``; what a link leads to elsewhere is not served."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(folder):
            found[path.relative_to(folder).as_posix()] = path
    return found


def _exists(name: str, files: Mapping[str, Path]) -> bool:
    return name in files or any(file.startswith(f"{name}/") for file in files)


def _entry(name: str, files: Mapping[str, Path]) -> dict[str, Any]:
    path = files.get(name)
    if path is None:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
    size = path.stat().st_size
    entry = {"type": "file", "oid": _blob(path), "size": size, "path": name}
    if path.name.endswith(LARGE):
        entry["lfs"] = {"oid": _sha256(path), "size": size, "pointerSize": 134}
    return entry


def _log_of(commits: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"id": commit, "title": "", "message": "", "authors": [{"user": "org"}], "date": f"{day}T00:00:00.000Z"}
        for commit, day in commits
    ]


def _commit(folder: Path) -> str:
    listing = "".join(f"{name}\0{_blob(path)}\n" for name, path in _files(folder).items())
    return hashlib.sha1(listing.encode()).hexdigest()


def _blob(path: Path) -> str:
    """Return the name that git gives to the content."""
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size, "sha1")


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size, "sha256")


@lru_cache(maxsize=4096)
def _hashed(path: Path, time: int, size: int, algorithm: str) -> str:
    content = path.read_bytes()
    return hashlib.new(algorithm, (b"blob %d\0" % size if algorithm == "sha1" else b"") + content).hexdigest()
