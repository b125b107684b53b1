"""A fake of MLflow's REST API; ``tests/local/foreign/test_mlflow.py`` compares its responses with the stock server's."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = "/api/2.0/mlflow/"


class MlflowStandIn:
    """Recorded writes; a ``status`` other than 200 is the response to every request, ``files`` are artifacts by path.

    Each response also has the headers ``answered``. With ``prefix``, MLflow is below that path only.
    """

    def __init__(self) -> None:
        self.status, self.headers, self.files = 200, list[dict[str, str]](), dict[str, bytes]()
        self.experiments: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: list[str] = []
        self.versions: list[dict[str, Any]] = []
        self.aliases: dict[str, str] = {}
        self.uri, self.answered = "", dict[str, str]()
        self.prefix = ""

    def answer(self, path: str, given: dict[str, Any]) -> tuple[int, Any]:
        """Return status and document for a call."""
        if self.status != 200:
            return self.status, {"error_code": "DOWN", "message": "not  now"}
        return getattr(self, "_" + re.sub(r"[/-]", "_", path))(given)  # type: ignore[no-any-return]

    def _experiments_get_by_name(self, given: dict[str, Any]) -> tuple[int, Any]:
        if given["experiment_name"] not in self.experiments:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no experiment"}
        return 200, {"experiment": {"experiment_id": str(self.experiments.index(given["experiment_name"]))}}

    def _experiments_create(self, given: dict[str, Any]) -> tuple[int, Any]:
        self.experiments.append(given["name"])
        return 200, {"experiment_id": str(len(self.experiments) - 1)}

    def _runs_search(self, given: dict[str, Any]) -> tuple[int, Any]:
        tag, value = re.fullmatch(r"tags\.`(.+)` = '(.*)'", given["filter"]).groups()  # type: ignore[union-attr]
        found = [run for run in self.runs.values() if run["tags"].get(tag) == value]
        return 200, {"runs": [{"info": {"run_id": run["id"]}} for run in found]}

    def _runs_create(self, given: dict[str, Any]) -> tuple[int, Any]:
        made = f"run-{len(self.runs)}"
        tags = {tag["key"]: tag["value"] for tag in given["tags"]}
        self.runs[made] = {"id": made, "name": given["run_name"], "tags": tags, "metrics": {}, "params": {}}
        return 200, {"run": {"info": {"run_id": made}}}

    def _runs_log_batch(self, given: dict[str, Any]) -> tuple[int, Any]:
        run = self.runs[given["run_id"]]
        run["metrics"] |= {(each["key"], each["step"]): each["value"] for each in given["metrics"]}
        run["params"] |= {each["key"]: each["value"] for each in given["params"]}
        run["tags"] |= {each["key"]: each["value"] for each in given["tags"]}
        return 200, {}

    def _runs_update(self, given: dict[str, Any]) -> tuple[int, Any]:
        self.runs[given["run_id"]]["status"] = given["status"]
        return 200, {}

    def _registered_models_create(self, given: dict[str, Any]) -> tuple[int, Any]:
        if given["name"] in self.models:
            return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "exists"}
        self.models.append(given["name"])
        return 200, {}

    def _model_versions_search(self, given: dict[str, Any]) -> tuple[int, Any]:
        return 200, {
            "model_versions": [each for each in self.versions if given["filter"] == f"name = '{each['name']}'"]
        }

    def _model_versions_create(self, given: dict[str, Any]) -> tuple[int, Any]:
        if given["name"] not in self.models:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no model"}
        self.versions.append({**given, "version": str(len(self.versions) + 1)})
        return 200, {"model_version": self.versions[-1]}

    def _model_versions_get(self, given: dict[str, Any]) -> tuple[int, Any]:
        found = [each for each in self.versions if (each["name"], each["version"]) == (given["name"], given["version"])]
        return (
            (200, {"model_version": found[0]})
            if found
            else (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})
        )

    def _model_versions_get_download_uri(self, given: dict[str, Any]) -> tuple[int, Any]:
        _, found = self._model_versions_get(given)
        return 200, {"artifact_uri": found["model_version"]["source"]}

    def _registered_models_alias(self, given: dict[str, Any]) -> tuple[int, Any]:
        if "version" in given:
            self.aliases[given["alias"]] = given["version"]
            return 200, {}
        if given["alias"] not in self.aliases:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"no alias {given['alias']}"}
        return self._model_versions_get({"name": given["name"], "version": self.aliases[given["alias"]]})

    def artifacts(self, path: str, given: dict[str, str]) -> tuple[int, bytes]:
        """Return a file, or the listing of a folder."""
        if path:
            return (200, self.files[path]) if path in self.files else (404, b"{}")
        below = given.get("path", "").rstrip("/") + "/"
        names = {name.removeprefix(below).split("/")[0] for name in self.files if name.startswith(below)}
        listed = [
            {"path": name, "is_dir": False, "file_size": len(self.files[below + name])}
            if below + name in self.files
            else {"path": name, "is_dir": True}
            for name in sorted(names)
        ]
        return 200, json.dumps({"files": listed}).encode()


@contextmanager
def mlflow_stand_in() -> Iterator[MlflowStandIn]:
    """Return a fake server on this machine."""
    made = MlflowStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(dict(parse_qsl(urlsplit(self.path).query)))

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, given: dict[str, Any]) -> None:
            path = unquote(urlsplit(self.path).path)
            made.headers.append(dict(self.headers.items()))
            proxied = "/api/2.0/mlflow-artifacts/artifacts"
            if not path.startswith(made.prefix):
                status, body = 404, b"<html>there is nothing here</html>"
            elif path.startswith(proxied):
                status, body = made.artifacts(path.removeprefix(proxied).lstrip("/"), given)
            else:
                status, document = made.answer(path.removeprefix(ROOT), given)
                body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in made.answered.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.uri = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
