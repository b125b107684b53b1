"""A small cluster API over real HTTP: server-side apply with field managers, dry runs, scale, and faults on demand.

Lists are one field, because these tests need only scalars and maps.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Field = tuple[str, ...]
_ANONYMOUS = ("apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "generation")


class FakeCluster:
    """Objects by path, the managers of their fields, and all requests."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.managers: dict[str, dict[tuple[str, str], set[Field]]] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[tuple[str, str, int, Any, dict[str, str]]] = []
        self.token = ""
        self.url = ""

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Return verbs and paths of effective requests, in order."""
        return [(verb, path) for verb, path, query, _ in self.requests if verb != "GET" and "dryRun" not in query]

    def fail(self, verb: str, part: str, status: int, body: Any = None, **headers: str) -> None:
        """Fail the next request of a verb whose path and query contain a part; status 0 drops the connection."""
        self.faults.append((verb, part, status, body, {k.replace("_", "-"): v for k, v in headers.items()}))

    def update(self, path: str, manager: str, document: dict[str, Any]) -> None:
        """Change fields like a controller or a person, who then manages them."""
        self._set(self.objects[path], path, (manager, "Update"), _leaves(document))

    def answer(self, verb: str, target: str, sent: Any, kind: str) -> tuple[int, Any]:
        """Return status and document of a response."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path
        if verb == "GET":
            return (200, self.objects[path]) if path in self.objects else self._absent(path)
        if verb == "DELETE":
            return self._delete(path, sent)
        if kind == "application/apply-patch+yaml":
            return self._apply(path, sent, query)
        base = path.removesuffix("/scale")
        if base not in self.objects:
            return self._absent(base)
        if "dryRun" not in query:
            self._set(self.objects[base], base, (query["fieldManager"], "Update"), _leaves(sent))
        return 200, self.objects[base]

    def _apply(self, path: str, sent: dict[str, Any], query: dict[str, str]) -> tuple[int, Any]:
        me, fields = (query["fieldManager"], "Apply"), _leaves(sent)
        live = self.objects.get(path, {})
        known = self.managers.get(path, {})
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f'conflict with "{who[0]}" with subresource "scale" using apps/v1: .{".".join(field)}',
                "field": "." + ".".join(field),
            }
            for who, theirs in known.items()
            if who != me
            for field in sorted(theirs & fields.keys())
            if _read(live, field) != fields[field]
        ]
        if causes:
            message = f"Apply failed with {len(causes)} conflict"
            return 409, _status(409, "Conflict", message, causes=causes)
        if "dryRun" in query:
            return 200, {**sent, **live}
        is_new = path not in self.objects
        target = self.objects.setdefault(path, {"metadata": {"uid": f"uid-{len(self.objects)}"}})
        target["apiVersion"], target["kind"] = sent["apiVersion"], sent["kind"]
        target["metadata"].update({k: v for k, v in sent["metadata"].items() if k in ("name", "namespace")})
        others = set().union(*(theirs for who, theirs in known.items() if who != me))
        for gone in known.get(me, set()) - fields.keys() - others:
            _drop(target, gone)
        for field, value in fields.items():
            _write(target, field, value)
        self.managers.setdefault(path, {})[me] = set(fields)
        target.setdefault("spec", {})
        if target["kind"] == "Deployment":
            target["spec"].setdefault("replicas", 1)
        return (201 if is_new else 200), target

    def _delete(self, path: str, options: Any) -> tuple[int, Any]:
        if path not in self.objects:
            return self._absent(path)
        wanted = (options or {}).get("preconditions", {}).get("uid")
        if wanted not in (None, self.objects[path]["metadata"]["uid"]):
            return 409, _status(409, "Conflict", "the UID in the precondition does not match")
        self.managers.pop(path, None)
        return 200, self.objects.pop(path)

    def _set(self, target: dict[str, Any], path: str, me: tuple[str, str], fields: dict[Field, Any]) -> None:
        known = self.managers.setdefault(path, {})
        for field, value in fields.items():
            if _read(target, field) != value:
                for theirs in known.values():
                    theirs.discard(field)
            known.setdefault(me, set()).add(field)
            _write(target, field, value)

    @staticmethod
    def _absent(path: str) -> tuple[int, Any]:
        name = path.rsplit("/", 1)[-1]
        return 404, _status(404, "NotFound", f'"{name}" not found', name=name)


def _status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def _leaves(document: Any, at: Field = ()) -> dict[Field, Any]:
    if not isinstance(document, dict):
        return {at: document}
    found: dict[Field, Any] = {}
    for key, value in document.items():
        if (at == () and key in _ANONYMOUS) or (at == ("metadata",) and key in _ANONYMOUS):
            continue
        found |= _leaves(value, (*at, key)) if value != {} else {(*at, key): {}}
    return found


def _read(document: Any, field: Field) -> Any:
    for key in field:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _write(document: dict[str, Any], field: Field, value: Any) -> None:
    for key in field[:-1]:
        document = document.setdefault(key, {})
    document[field[-1]] = value


def _drop(document: dict[str, Any], field: Field) -> None:
    inner = _read(document, field[:-1])
    if isinstance(inner, dict):
        inner.pop(field[-1], None)


def _handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            cluster.requests.append((self.command, parts.path, query, sent))
            cluster.headers.append(dict(self.headers.items()))
            fault = next((f for f in cluster.faults if f[0] == self.command and f[1] in self.path), None)
            if fault is not None:
                cluster.faults.remove(fault)
                if fault[2] == 0:
                    self.close_connection = True
                    return
                self._answer(fault[2], fault[3], fault[4])
                return
            if cluster.token and self.headers["Authorization"] != f"Bearer {cluster.token}":
                self._answer(401, _status(401, "Unauthorized", "Unauthorized"), {})
                return
            self._answer(*cluster.answer(self.command, self.path, sent, self.headers.get("Content-Type", "")), {})

        do_GET = do_PATCH = do_DELETE = do_POST = _any  # noqa: N815 - http.server's own names

        def _answer(self, status: int, document: Any, headers: dict[str, str]) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """Serve a new cluster on the loopback interface."""
    cluster = FakeCluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
