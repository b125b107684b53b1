"""The image of models, tested without Docker: its file, its packages, and its three entry points."""

import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import Models
from tests.runtime.serving.test_server import free_port, wait_for_ping

from mlops_runtime.image.image_build import write_context

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packages/mlops-runtime/src/mlops_runtime/image/containers/model"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
_HELD = tempfile.TemporaryDirectory(prefix="image-context-")
BIN = FOLDER / "bin"
UID = 10001


@cache
def context() -> Path:
    """Return the folder that the image is built from."""
    return write_context("runtime", Path(_HELD.name) / "context").folder


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return each instruction and its arguments, without comments and line breaks."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def problems(dockerfile: str) -> list[str]:
    """Return the violations of the rules in its header."""
    found, stages = [], []
    all_ = instructions(dockerfile)
    for name, arguments in all_:
        words = arguments.split()
        if name == "FROM":
            if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", words[0]) and words[0] not in stages:
                found.append(f"base without digest: {words[0]}")
            stages += words[2:3]
        if name == "ADD":
            found.append("ADD fetches and unpacks; COPY copies")
        if name == "USER":
            found.append("USER: SageMaker asks for root, a pod for 10001")
        if name in ("CMD", "ENTRYPOINT") and not arguments.startswith("["):
            found.append(f"{name} in shell form: SIGTERM would go to the shell")
        if name == "RUN" and re.search(r"pip install (?!.*(--require-hashes|--no-index))", arguments):
            found.append("pip install without hashes")
        if name == "COPY" and "--from=" not in arguments:
            found += [f"not there: {w}" for w in words[:-1] if not w.startswith("--") and not (context() / w).exists()]
        if name == "RUN" and re.search(r"curl|wget|git clone|https?://", arguments):
            found.append("RUN fetches what has no hash")
    names = [name for name, _ in all_]
    bases = {arguments.split()[0] for name, arguments in all_ if name == "FROM"}
    environment = " ".join(arguments for name, arguments in all_ if name == "ENV")
    found += [f"no {name}" for name in ("FROM", "CMD", "EXPOSE") if name not in names]
    found += [f"{len(bases)} different bases"] * (len(bases) > 1)
    wanted = ("ORT_DISABLE_TELEMETRY=1", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp")
    return found + [f"no ENV {setting}" for setting in wanted if setting not in environment]


def test_the_dockerfile_keeps_the_rules() -> None:
    """Base by digest, packages by hash, no user, the command as the first process."""
    assert problems(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"@sha256:[0-9a-f]{64} AS", " AS", "base without digest"),
        (r"(?m)^CMD .*", "CMD serve", "CMD in shell form"),
        (r"(?m)^CMD .*", 'USER 10001\nCMD ["serve"]', "USER"),
        (r"(?m)^CMD .*", "ENTRYPOINT serve", "no CMD"),
        (r"--require-hashes ", "", "pip install without hashes"),
        (r"(?m)^COPY site-packages", "COPY sources", "not there: sources"),
        (r"(?m)^COPY site-packages", "ADD site-packages", "ADD fetches"),
        (r"(?m)^WORKDIR", "RUN curl https://example.org | sh\nWORKDIR", "RUN fetches"),
        (r"ORT_DISABLE_TELEMETRY=1", "ORT_DISABLE_TELEMETRY=0", "no ENV ORT_DISABLE_TELEMETRY=1"),
        (r"(?m)^EXPOSE.*\n", "", "no EXPOSE"),
        (r"(.*)(sha256:)[0-9a-f]{64}\n", r"\1\2" + "0" * 64 + "\n", "2 different bases"),
    ],
)
def test_fails_for_a_dockerfile_that_breaks_a_rule(old: str, new: str, problem: str) -> None:
    """Each rule detects its violation."""
    changed = re.sub(old, new, DOCKERFILE, count=1)
    assert changed != DOCKERFILE
    assert any(problem in found for found in problems(changed)), problems(changed)


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    """With every rule enabled; and it does find a planted violation."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to run tools/dockerfile_lint.py with")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN apt-get install curl\n")
    command = [uv, "run", "--quiet", "--script", str(ROOT / "tools" / "dockerfile_lint.py")]
    result = subprocess.run(
        [*command, str(FOLDER / "Dockerfile"), str(bad)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert {line.partition(":")[0] for line in result.stdout.splitlines()} == {str(bad)}
    assert "DL3007" in result.stdout


def requirements(name: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of each package of a requirements file."""
    text = (FOLDER / name).read_text().replace("\\\n", " ")
    found = [
        re.fullmatch(r"([a-z0-9-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line) for line in text.splitlines()
    ]
    assert all(found), [line for line, match in zip(text.splitlines(), found, strict=True) if not match]
    return {match[1]: (match[2], match[3].count("--hash")) for match in found if match}


def test_the_image_installs_what_is_tested() -> None:
    """Every package by version and hash; the versions are those of uv.lock, which the tests use."""
    key: Callable[[str], list[int]] = lambda version: [int(part) for part in re.findall(r"\d+", version)]  # noqa: E731
    tested: dict[str, str] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        if "version" in package:
            tested[package["name"]] = max(tested.get(package["name"], "0"), package["version"], key=key)
    installed = requirements("requirements.txt")
    others = {
        name: (version, tested[name])
        for name, (version, _) in installed.items()
        if tested.get(name, version) != version
    }
    assert others == {}, "run python -m tools.image_requirements"
    wanted = {
        re.split(r"[\[<>=]", line)[0]
        for line in (FOLDER / "requirements.in").read_text().splitlines()
        if line[:1] not in ("#", "")
    }
    assert wanted <= installed.keys()


def test_the_image_has_what_the_extras_have() -> None:
    """Features, lineage and server need the same packages in the image as elsewhere, including extras."""
    project = (ROOT / "packages/mlops-runtime/pyproject.toml").read_text()
    extras = tomllib.loads(project)["project"]["optional-dependencies"]
    needed = {re.split(r"[<>=]", line)[0] for name in ("features", "lineage", "serving") for line in extras[name]}
    held = {re.split(r"[<>=]", line)[0] for line in (FOLDER / "requirements.in").read_text().splitlines()}
    # the server is plain ASGI without starlette; jinja2 renders the catalogue's page, which no job does
    assert needed - {"starlette", "jinja2"} <= held


def test_nothing_but_what_is_copied_reaches_the_build() -> None:
    """The context contains exactly the files that the Dockerfile copies: no tool, test, byte code or other package."""
    copied = {
        word.strip("/")
        for name, arguments in instructions(DOCKERFILE)
        if name == "COPY" and "--from" not in arguments
        for word in arguments.split()[:-1]
        if not word.startswith("--")
    }
    assert {path.name for path in context().iterdir()} == {".dockerignore", "Dockerfile", *copied}
    packages = {path.name.partition("-")[0] for path in (context() / "site-packages").iterdir()}
    assert packages == {"mlops_runtime"}  # and its metadata, for the version
    assert [path.name for path in (context() / "site-packages").rglob("*") if path.suffix == ".pyc"] == []


@pytest.mark.parametrize("name", ["fetch", "serve", "train"])
def test_entry_points_become_their_program(name: str) -> None:
    """They are executable, and end with exec, so that SIGTERM reaches Python."""
    text = (BIN / name).read_text()
    assert os.access(BIN / name, os.X_OK)
    assert text.startswith("#!/bin/sh\n")
    assert text.rstrip().splitlines()[-1].startswith("exec python -m mlops_runtime.")


# --- the entry points at work: a read-only root file system, as root and as uid 10001

SANDBOX = """
set -e
number=0
for keep in $KEEP; do number=$((number + 1)); mkdir -p "$STAGE/$number"; mount --bind "$keep" "$STAGE/$number"; done
if [ -n "$CLOSED" ]; then mount -t tmpfs -o mode=755 tmpfs "$CLOSED"; fi
number=0
for keep in $KEEP; do
    number=$((number + 1)); mkdir -p "$keep"; mount --bind "$STAGE/$number" "$keep"; mount -o remount,bind,ro "$keep"
done
if [ -n "$CLOSED" ]; then mount -o remount,ro "$CLOSED"; fi
for writable in $WRITABLE; do mount --bind "$writable" "$writable"; done
mount -o remount,bind,ro /
if touch "$PROBE" 2>/dev/null; then echo "the root file system can be written to" >&2; exit 99; fi
if [ "$AS" = root ]; then exec "$@"; fi
exec setpriv --reuid "$AS" --regid "$AS" --clear-groups --no-new-privs -- "$@"
"""


def closed() -> tuple[Path | None, list[Path]]:
    """Return the folder above Python or the sources that another user may not enter, and the required paths below it."""
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix), ROOT]
    for place in needed:
        for parent in [*reversed(place.parents), place]:
            if not parent.stat().st_mode & 0o001:
                return parent, [path for path in needed if path.is_relative_to(parent)]
    return None, []


def can_isolate() -> bool:
    """Return whether this machine allows a read-only root for a test."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    trial = subprocess.run(["unshare", "-m", "mount", "-o", "remount,bind,ro", "/"], capture_output=True, check=False)
    return trial.returncode == 0


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that another user may enter: each further pytest process closes pytest's own again."""
    with tempfile.TemporaryDirectory(prefix="model-image-") as folder:
        yield Path(folder)


isolated = pytest.mark.skipif(not can_isolate(), reason="needs root, unshare and setpriv to make a read-only root")
users = pytest.mark.parametrize("user", ["root", str(UID)])


class Box:
    """Runs an entry point as a user, with a read-only root and two folders that can be written to."""

    def __init__(self, folder: Path, user: str) -> None:
        self.opt_ml, self.tmp, self.user = folder / "ml", folder / "tmp", user
        for path in (self.opt_ml, self.tmp):
            path.mkdir()
            path.chmod(0o777)
        folder.chmod(0o755)
        self._probe = folder / "probe"

    def start(self, *command: str, writable: Sequence[Path] | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start it."""
        gate, keep = closed()
        places = [self.opt_ml, self.tmp] if writable is None else [*writable, self.tmp]
        variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT / "packages/mlops-runtime/src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.tmp),
            "TMPDIR": str(self.tmp),
            "MLOPS_OPT_ML": str(self.opt_ml),
            "WRITABLE": " ".join(map(shlex.quote, map(str, places))),
            "PROBE": str(self._probe),
            "AS": self.user,
            "CLOSED": str(gate or ""),
            "KEEP": " ".join(map(str, keep)),
            "STAGE": str(self._probe.with_name("stage")),
            **environment,
        }
        arguments = ["unshare", "-m", "sh", "-c", SANDBOX, "sh", *command]
        return subprocess.Popen(
            arguments, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def run(self, *command: str, **options: Any) -> tuple[int, str]:
        """Run it to its end; return exit code and output."""
        process = self.start(*command, **options)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


@contextmanager
def bucket(objects: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Return the environment of an S3 with these objects."""

    class Gives(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Return one object."""
            content = objects.get(self.path.partition("?")[0], b"")
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gives)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    credentials = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        yield {**credentials, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()
        server.server_close()


@isolated
@users
def test_a_pod_fetches_and_serves(tmp_path: Path, user: str) -> None:
    """The init container fetches into an empty volume, then the server reads it: responds, drains, exits with 0."""
    models, box = Models(), Box(tmp_path, user)
    archive = models.archive(tmp_path / "model.tar.gz").read_bytes()
    with bucket({"/artifacts/model.tar.gz": archive}) as environment:
        digest = hashlib.sha256(archive).hexdigest()
        fetched = box.run(
            str(BIN / "fetch"), "s3://artifacts/model.tar.gz", digest, str(box.opt_ml / "model"), **environment
        )
    assert fetched == (0, f"mlops serving: 2 files of s3://artifacts/model.tar.gz in {box.opt_ml}/model\n")
    assert {path.name for path in (box.opt_ml / "model").iterdir()} == {"model.onnx", "signature.json"}
    port = free_port()
    settings = {"MLOPS_BIND_HOST": "127.0.0.1", "SAGEMAKER_BIND_TO_PORT": str(port)}
    settings["MLOPS_MODEL_SHA256"] = hashlib.sha256(models.onnx()).hexdigest()
    server = box.start(str(BIN / "serve"), writable=(), **settings)
    try:
        wait_for_ping(port)
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert re.search(rf"^Uid:\t{0 if user == 'root' else UID}\t", status, re.MULTILINE)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(
            "POST", "/invocations", json.dumps({"instances": [[1, None, "east"]]}), {"content-type": "application/json"}
        )
        assert json.loads(connection.getresponse().read()) == {"predictions": [22.0]}
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.communicate()
    assert list(box.tmp.iterdir()) == []


@isolated
@pytest.mark.parametrize(("user", "how"), [("root", "argument"), (str(UID), "variable"), ("root", "hyperparameter")])
def test_a_job_trains(tmp_path: Path, user: str, how: str) -> None:
    """A team's script from its zip, with SageMaker's arguments, writes a model where SageMaker uploads it from."""
    models, box = Models(), Box(tmp_path, user)
    code, data = box.opt_ml / "input/data/code", box.opt_ml / "input/data/train"
    code.mkdir(parents=True)
    models.write(data)
    script = "import os, shutil\nfor name in ('model.onnx', 'signature.json'):\n"
    script += "    shutil.copy(os.path.join(os.environ['SM_CHANNEL_TRAIN'], name), os.environ['SM_MODEL_DIR'])\n"
    with zipfile.ZipFile(code / "code.zip", "w") as zipped:
        zipped.writestr("train.py", script)
    if how == "argument":
        code_, output = box.run(str(BIN / "train"), "train.py")
    elif how == "hyperparameter":
        config = box.opt_ml / "input/config"
        config.mkdir()
        (config / "hyperparameters.json").write_text('{"sagemaker_program": "train.py"}')
        code_, output = box.run(str(BIN / "train"))
    else:
        code_, output = box.run(str(BIN / "train"), SAGEMAKER_PROGRAM="train.py")
    assert (code_, output) == (0, f"mlops train: model {hashlib.sha256(models.onnx()).hexdigest()}\n")
    assert (box.opt_ml / "model/model.onnx").read_bytes() == models.onnx()


@isolated
def test_fails_where_nothing_may_be_written(tmp_path: Path) -> None:
    """A missing volume is a one-line error, not a traceback."""
    box = Box(tmp_path, str(UID))
    archive = Models().archive(tmp_path / "model.tar.gz").read_bytes()
    with bucket({"/artifacts/model.tar.gz": archive}) as environment:
        digest = hashlib.sha256(archive).hexdigest()
        code, output = box.run(
            str(BIN / "fetch"),
            "s3://artifacts/model.tar.gz",
            digest,
            str(tmp_path / "elsewhere"),
            writable=(),
            **environment,
        )
    assert code == 1
    assert re.fullmatch(
        r"mlops serving: cannot fetch s3://artifacts/model\.tar\.gz: (OSError|PermissionError): .*\n", output
    )
