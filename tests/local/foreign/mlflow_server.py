"""The stock MLflow server for tests, in the environment of ``mlflow_calls.py``."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("mlflow_calls.py")
_SECONDS = 120  # an import of MLflow on a busy machine
# no telemetry, no scheduler of jobs, one worker: 0.4 GB instead of 1.9
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def mlflow_python() -> str:
    """Return the interpreter of MLflow's environment; skip the test without one."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to find the environment of MLflow with")
    command = [uv, "python", "find", "--offline", "--script", str(SCRIPT)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    python = Path(found.stdout.strip())
    if found.returncode == 0 and (python.parent / "mlflow").is_file():
        return str(python)
    pytest.skip(f"MLflow is not installed; run: uv sync --script tests/local/foreign/{SCRIPT.name}")


class MlflowServer:
    """A server in a process of its own that can stop and restart on the same port with its data."""

    def __init__(self, folder: Path) -> None:
        self.python, self.folder = mlflow_python(), folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, password: str | None = None) -> None:
        """Start it and wait until it responds; with a password it requires that of ``admin``."""
        environment = {**os.environ, **ENVIRONMENT}
        app = []
        if password is not None:
            config = self.folder / "basic_auth.ini"
            config.write_text(
                f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{self.folder}/auth.db\nadmin_username = admin\n"
                f"admin_password = {password}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            )
            app = ["--app-name", "basic-auth"]
            environment |= {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-test"}
        stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
        listens = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", "mlflow", "server", *app, *listens, *stores],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):  # noqa: S310 - http on 127.0.0.1
                    return
            except OSError:
                time.sleep(0.2)
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        """Stop it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, 15)
            self._process.wait(30)
            self._process = None

    def client(self, verb: str, *arguments: str) -> Any:
        """Return the stock client's output."""
        done = subprocess.run(
            [self.python, str(SCRIPT), verb, self.uri, *arguments],
            env={**os.environ, **ENVIRONMENT},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])
