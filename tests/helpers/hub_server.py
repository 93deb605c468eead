"""A Hub on this machine: enough of its HTTP API for the real clients to create, push, list and load datasets."""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from tests.helpers.hub_content import Repo, State, described, entry, oid_of, validate

GOOD_TOKEN, READ_TOKEN = "hf_" + "g" * 34, "hf_" + "r" * 34


class Handler(BaseHTTPRequestHandler):
    # No kept-alive connections: they would outlive the server of their test.
    protocol_version = "HTTP/1.0"
    state: State

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self.send(status, {"error": message or code}, {**headers, "X-Error-Message": message or code})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def may_write(self) -> bool:
        if self.token() not in (GOOD_TOKEN, READ_TOKEN):
            self.fail(401, message="Invalid credentials in Authorization header")
            return False
        if self.token() == READ_TOKEN:
            self.fail(403, message="Forbidden: you must use a write token")
            return False
        return True

    def repo(self, name: str) -> Repo | None:
        repo = self.state.repos.get(name)
        if repo is None or (repo.private and self.token() != GOOD_TOKEN):
            self.fail(404, "RepoNotFound", "Repository not found")
            return None
        return repo

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        oid = self.path.rsplit("/", 1)[1]
        if self.state.cut_uploads:
            self.state.cut_uploads -= 1
            self.rfile.read(min(64, int(self.headers.get("Content-Length") or 0)))
            # Reset, as when a cable is pulled.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        data = self.body()
        assert hashlib.sha256(data).hexdigest() == oid
        self.state.objects[oid] = data
        self.state.uploads.append(oid)
        self.send(200)

    def do_POST(self) -> None:
        path = urlparse(self.path).path
        self.state.requests.append(f"POST {path}")
        body = self.body()
        if path == "/api/validate-yaml":
            self.send(*validate(json.loads(body)["content"]))
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif found := re.fullmatch(r"/datasets/(.+)\.git/info/lfs/objects/batch", path):
            self.lfs_batch(found[1], json.loads(body))
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(preupload|commit|paths-info)/([^/]+)", path):
            repo = self.repo(found[1])
            if repo is None or (found[2] != "paths-info" and not self.may_write()):
                return
            getattr(self, found[2].replace("-", "_"))(found[1], repo, body)
        else:
            self.fail(404)

    def create(self, wanted: dict[str, Any]) -> None:
        if not self.may_write():
            return
        owner = wanted.get("organization") or "me"
        name = f"{owner}/{wanted['name']}"
        if owner != "me":
            self.fail(403, message=f"You don't have the rights to create a dataset under the namespace {owner!r}")
        elif name in self.state.repos:
            self.send(409, {"error": "You already created this dataset repo", "url": self.url(f"/datasets/{name}")})
        else:
            private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
            self.state.repos[name] = Repo(private=private)
            self.send(200, {"url": self.url(f"/datasets/{name}"), "name": name, "id": "1"})

    def url(self, path: str) -> str:
        return f"http://{self.headers['Host']}{path}"

    def preupload(self, name: str, repo: Repo, body: bytes) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith((".parquet", ".png")) else "regular",
                "shouldIgnore": False,
                "oid": oid_of(file["path"], repo),
            }
            for file in json.loads(body)["files"]
        ]
        self.send(200, {"files": files})

    def lfs_batch(self, name: str, wanted: dict[str, Any]) -> None:
        answers = []
        for thing in wanted["objects"]:
            answer: dict[str, Any] = {"oid": thing["oid"], "size": thing["size"]}
            if thing["oid"] not in self.state.objects:
                answer["actions"] = {"upload": {"href": self.url(f"/lfs/{thing['oid']}")}}
            answers.append(answer)
        self.send(200, {"transfer": "basic", "objects": answers})

    def commit(self, name: str, repo: Repo, body: bytes) -> None:
        if not self.state.takes_commits:
            self.fail(403, message="Storage limit reached")
            return
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                repo.files[value["path"]] = self.state.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del repo.files[value["path"]]
        repo.commits.append(hashlib.sha1(f"{name}{len(repo.commits)}".encode() + body).hexdigest())
        oid = repo.commits[-1]
        self.send(200, {"success": True, "commitOid": oid, "commitUrl": self.url(f"/datasets/{name}/commit/{oid}")})

    def paths_info(self, name: str, repo: Repo, body: bytes) -> None:
        text = body.decode()
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        entries = []
        for path in paths:
            if path in repo.files:
                entries.append(entry(path, repo))
            elif any(held.startswith(f"{path}/") for held in repo.files):
                entries.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.send(200, entries)

    def answer(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        if path == "/api/whoami-v2":
            name = {GOOD_TOKEN: "me", READ_TOKEN: "reader"}.get(self.token())
            self.send(200, {"name": name, "type": "user", "orgs": []}) if name else self.fail(401)
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            if (repo := self.repo(found[1])) is not None:
                self.send(200, described(found[1], repo))
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            if (repo := self.repo(found[1])) is not None:
                self.tree(repo, found[3] or "")
        elif (found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)) and (
            repo := self.repo(found[1])
        ) is not None:
            self.resolve(repo, found[3])
        elif not found:
            self.fail(404, "RepoNotFound")

    def tree(self, repo: Repo, folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        inside = {name for name in repo.files if name.startswith(prefix)}
        if folder and not inside:
            self.fail(404, "EntryNotFound")
            return
        recursive = "recursive=true" in self.path.lower()
        entries = [entry(name, repo) for name in sorted(inside) if recursive or "/" not in name[len(prefix) :]]
        folders = sorted({prefix + name[len(prefix) :].split("/")[0] for name in inside if "/" in name[len(prefix) :]})
        entries += [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders]
        self.send(200, entries)

    def resolve(self, repo: Repo, name: str) -> None:
        if name not in repo.files:
            self.fail(404, "EntryNotFound")
            return
        data = repo.files[name]
        headers = {
            "ETag": f'"{oid_of(name, repo)}"',
            "X-Repo-Commit": repo.commits[-1],
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self.send(206, data[first : last + 1], headers)
        else:
            self.send(200, data, headers)


class LocalHub:
    """Start and stop with ``with``; ``state`` shows and steers what happens."""

    def __init__(self, port: int) -> None:
        self.state = State()
        handler = type("OwnHandler", (Handler,), {"state": self.state})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True

    def __enter__(self) -> "LocalHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
