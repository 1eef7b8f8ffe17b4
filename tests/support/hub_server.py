"""A small stand-in for the Hugging Face Hub on the loopback: datasets with commits and pull requests, for the real client.

It answers the requests of `huggingface_hub` 2.4 that grokbench's commands make, and fails as it is told to.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]
LFS_FROM = 200_000  # bytes; larger files go through the storage for large files
DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Commit:
    """A commit with all its files. `also` has the further parents of a merge, which its history names last."""

    oid: str
    parent: str | None
    files: Files
    title: str = ""
    description: str = ""
    also: list[str] = field(default_factory=list)


@dataclass
class Dataset:
    """A dataset repository: its commits, what its branches and pull requests point at, and the pull requests."""

    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a pull request, or a hash."""
        return self.commits.get(self.refs.get(revision, revision))

    def add(self, ref: str, files: Files, *, parent: str | None, title: str = "", description: str = "") -> Commit:
        """A new commit, at which `ref` points."""
        oid = hashlib.sha1(f"{len(self.commits)} {ref} {parent}".encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, files, title, description)
        self.refs[ref] = oid
        return self.commits[oid]

    def change(self, files: Files, *, ref: str = "main") -> Commit:
        """A commit that adds files to those of `ref`, as somebody else makes it."""
        tip = self.find(ref)
        return self.add(ref, {**(tip.files if tip else {}), **files}, parent=tip.oid if tip else None)


@dataclass
class Fault:
    """What happens to the first requests whose method and path match.

    Attributes:
        pattern: of method and path.
        status: the answer's status; 0 breaks the connection without an answer.
        headers: of the answer.
        body: of the answer.
        times: so many requests.
        before: what happens first; with status -1 the request is answered as ever.
    """

    pattern: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    times: int = 1
    before: Callable[[], object] = lambda: None


class HubServer:
    """The server's state. `users` has the names by their tokens."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.users = {"hf_owner": "owner", "hf_ada": "ada", "hf_eve": "eve"}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.endpoint = ""

    def fail(self, pattern: str, status: int, **more: Any) -> None:
        """Let the next request that matches fail."""
        self.faults.append(Fault(pattern, status, **more))

    def fault(self, request: str) -> Fault | None:
        """The fault of a request, which is used up by it."""
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A running server on a free port."""
    hub = HubServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.hub.requests.append(f"{self.command} {url.path}")
        fault = self.hub.fault(f"{self.command} {url.path}")
        if fault is not None and fault.status == 0:
            self.rfile.read(min(self._length(), 100))  # break off in the middle
            self.close_connection = True
            self.connection.close()
            return
        self.body = self._read_body()
        if fault is not None:
            fault.before()
            if fault.status > 0:
                self._send(fault.status, fault.body.encode(), fault.headers)
                return
        for pattern, handle in _ROUTES:
            found = re.fullmatch(pattern, f"{self.command} {url.path}")
            if found:
                handle(self, *map(unquote, found.groups()))
                return
        self._fail(404, f"no route for {self.command} {url.path}")

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(self._length())
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "X-Request-Id": "r", **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    @property
    def user(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return self.hub.users.get(token)

    def _found(self, name: str, revision: str | None = None) -> tuple[Dataset, Commit] | None:
        """The dataset and a commit. Otherwise the answer is sent."""
        dataset = self.hub.datasets.get(name)
        if dataset is None:
            self._fail(404 if self.user else 401, "Repository not found", "RepoNotFound")
            return None
        commit = dataset.find(revision or "main")
        if commit is None:
            self._fail(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return None
        return dataset, commit

    def whoami(self) -> None:
        if self.user is None:
            self._fail(401, "Invalid credentials in Authorization header")
        else:
            self._json({"type": "user", "name": self.user})

    def create(self) -> None:
        content = json.loads(self.body)
        owner = content.get("organization") or self.user
        if self.user is None:
            self._fail(401, "Invalid credentials in Authorization header")
        elif owner != self.user:
            self._fail(403, f"You don't have the rights to create a dataset under the namespace {owner!r}")
        else:
            name = f"{owner}/{content['name']}"
            url = {"url": f"{self.hub.endpoint}/datasets/{name}"}
            if name in self.hub.datasets:
                self._send(409, json.dumps({**url, "error": "You already created this dataset repo"}).encode())
                return
            self.hub.datasets[name] = Dataset()
            self.hub.datasets[name].add("main", {".gitattributes": b"*.parquet filter=lfs\n"}, parent=None)
            self._json(url)

    def validate_yaml(self) -> None:
        text = json.loads(self.body)["content"]
        assert text.startswith("---\n")
        self._json({"errors": [], "warnings": []})

    def info(self, name: str, revision: str = "main") -> None:
        if found := self._found(name, revision):
            files = [{"rfilename": path} for path in sorted(found[1].files)]
            self._json({"id": name, "sha": found[1].oid, "siblings": files, "private": False, "tags": [], "downloads": 0})

    def tree(self, name: str, revision: str, path: str = "") -> None:
        if found := self._found(name, revision):
            prefix = f"{path.strip('/')}/" if path.strip("/") else ""
            inside = {path: data for path, data in found[1].files.items() if path.startswith(prefix)}
            if prefix and not inside:
                self._fail(404, f"{path} doesn't exist", "EntryNotFound")
                return
            depth = prefix.count("/")
            files = [self._node(each, data) for each, data in inside.items() if self._deep() or each.count("/") == depth]
            folders = {"/".join(each.split("/")[:level]) for each in inside for level in range(depth + 1, each.count("/") + 1)}
            shown = [each for each in sorted(folders) if self._deep() or each.count("/") == depth]
            self._json([*({"type": "directory", "oid": "0" * 40, "size": 0, "path": each} for each in shown), *files])

    def _deep(self) -> bool:
        return self.query.get("recursive", "").lower() in ("true", "1")

    def _node(self, path: str, data: bytes) -> dict[str, Any]:
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        large = {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
        return {"type": "file", "oid": oid, "size": len(data), "path": path, **(large if len(data) >= LFS_FROM else {})}

    def paths_info(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            asked = json.loads(self.body)["paths"] if self.body.startswith(b"{") else parse_qs(self.body.decode())["paths"]
            files = found[1].files
            nodes = [self._node(path, files[path]) for path in asked if path in files]
            folders = [path for path in asked if any(each.startswith(f"{path}/") for each in files)]
            self._json([*nodes, *({"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders)])

    def commits(self, name: str, revision: str) -> None:
        if found := self._found(name, revision):
            dataset, commit = found
            history: list[Commit] = []
            waiting = [commit.oid]
            while waiting:
                each = dataset.commits[waiting.pop(0)]
                if each not in history:
                    history.append(each)
                waiting = [*([each.parent] if each.parent else []), *waiting, *each.also]
            shown = ({"id": c.oid, "title": c.title, "message": c.description, "date": DATE, "authors": []} for c in history)
            self._json(list(shown))

    def discussions(self, name: str) -> None:
        if found := self._found(name):
            shown = [
                {
                    **pull,
                    "author": {"name": pull["author"]},
                    "createdAt": DATE,
                    "isPullRequest": True,
                    "repo": {"name": name, "type": "dataset"},
                }
                for pull in found[0].pulls
                if self.query.get("author") in (None, pull["author"])
            ]
            self._json({"discussions": shown, "count": len(shown), "start": 0})

    def preupload(self, name: str, revision: str) -> None:
        if found := self._found(name, None if self.query.get("create_pr") else revision):
            answers = []
            for file in json.loads(self.body)["files"]:
                there = found[1].files.get(file["path"])
                mode = "lfs" if file["size"] >= LFS_FROM or file["path"].endswith(".parquet") else "regular"
                answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
                if there is not None:
                    git = hashlib.sha1(b"blob %d\0" % len(there) + there).hexdigest()
                    answer["oid"] = hashlib.sha256(there).hexdigest() if mode == "lfs" else git
                answers.append(answer)
            self._json({"files": answers})

    def large_files(self, name: str) -> None:
        objects = []
        for each in json.loads(self.body)["objects"]:
            known = each["oid"] in self.hub.large
            upload = {"actions": {"upload": {"href": f"{self.hub.endpoint}/large/{each['oid']}", "header": {}}}}
            objects.append({**each, **({} if known else upload)})
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.large[oid] = self.body
        self._send(200, b"")

    def commit(self, name: str, revision: str) -> None:
        found = self._found(name, revision)
        if found is None:
            return
        dataset, tip = found
        opens = self.query.get("create_pr") == "1"
        pull = next((p for p in dataset.pulls if revision == f"refs/pr/{p['num']}"), None)
        allowed = (name.split("/")[0], *([pull["author"]] if pull else []))
        if self.user is None:
            self._fail(401, "Invalid credentials in Authorization header")
            return
        if not opens and self.user not in allowed:
            self._fail(403, "You don't have write access to this repo")
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if not opens and header.get("parentCommit") not in (None, tip.oid):
            self._fail(412, "A commit has happened since. Please refresh and try again.")
            return
        files = self._changed(tip.files, lines[1:])
        if opens:
            number = len(dataset.pulls) + 1
            dataset.pulls.append({"num": number, "title": header["summary"], "author": self.user, "status": "open"})
            revision = f"refs/pr/{number}"
        text = {"title": header["summary"], "description": header["description"]}
        new = dataset.add(revision, files, parent=tip.oid, **text)
        answer = {"success": True, "commitOid": new.oid, "commitUrl": f"{self.hub.endpoint}/datasets/{name}/commit/{new.oid}"}
        if opens:
            answer["pullRequestUrl"] = f"{self.hub.endpoint}/datasets/{name}/discussions/{number}"
        self._json(answer)

    def _changed(self, files: Files, lines: list[dict[str, Any]]) -> Files:
        changed = dict(files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changed[value["path"]] = self.hub.large[value["oid"]]
            else:
                del changed[value["path"]]
        return changed

    def resolve(self, name: str, revision: str, path: str) -> None:
        if found := self._found(name, revision):
            commit = found[1]
            if path not in commit.files:
                self._fail(404, "Entry not found", "EntryNotFound")
                return
            data = commit.files[path]
            etag = hashlib.sha1(data).hexdigest()
            status, headers = 200, {"X-Repo-Commit": commit.oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if asked:
                start, end = int(asked[1]), int(asked[2] or len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                status, data = 206, data[start : end + 1]
            self._send(status, data, headers)


_NAME = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"GET /api/whoami-v2", _Handler.whoami),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate_yaml),
    (rf"GET /api/datasets/{_NAME}", _Handler.info),
    (rf"GET /api/datasets/{_NAME}/revision/([^/]+)", _Handler.info),
    (rf"GET /api/datasets/{_NAME}/tree/([^/]+)", _Handler.tree),
    (rf"GET /api/datasets/{_NAME}/tree/([^/]+)/(.*)", _Handler.tree),
    (rf"POST /api/datasets/{_NAME}/paths-info/([^/]+)", _Handler.paths_info),
    (rf"GET /api/datasets/{_NAME}/commits/([^/]+)", _Handler.commits),
    (rf"GET /api/datasets/{_NAME}/discussions", _Handler.discussions),
    (rf"POST /api/datasets/{_NAME}/preupload/([^/]+)", _Handler.preupload),
    (rf"POST /api/datasets/{_NAME}/commit/([^/]+)", _Handler.commit),
    (rf"POST /datasets/{_NAME}\.git/info/lfs/objects/batch", _Handler.large_files),
    (r"PUT /large/([0-9a-f]+)", _Handler.upload),
    (rf"(?:GET|HEAD) /datasets/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
]
