"""Schemathesis on the console server: every response matches the OpenAPI document, whatever is sent."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.cli.monitored_unit import MonitoredUnit

from mlops_cli.console_server import ConsoleServer
from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi

_number = itertools.count(1)


@pytest.fixture
def server(cloud: Cloud) -> Iterator[ConsoleServer]:
    """The console of the shared cloud, with a unit whose monitor has results."""
    MonitoredUnit(DeployedUnit(cloud, f"hostile{next(_number)}"))
    options = embedded_options(cloud.home)
    assert options is not None
    connection = CloudConnection(session=boto3.Session(), options=options)
    with ConsoleServer(ConsoleApi(lambda _role: connection)) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


def attack(server: ConsoleServer, folder: Path, *phases: str, examples: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis on the document without the clock, which other tests share."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"http://{server.host}/api/v1/openapi.json",
        "--header", f"Authorization: Bearer {server.token}", "--checks", "all", "--max-examples", str(examples),
        "--seed", "7", "--exclude-operation-id", "moveClock", "--phases", ",".join(phases), "--no-color",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1700)


def test_hostile_requests_get_declared_answers(server: ConsoleServer, tmp_path: Path) -> None:
    """Checks for 5xx, undeclared statuses, media types and bodies, rejected valid requests, and calls without the token."""
    done = attack(server, tmp_path, "coverage", examples=1)

    assert done.returncode == 0, done.stdout[-9000:]


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_thousands_of_hostile_requests_get_declared_answers(server: ConsoleServer, tmp_path: Path) -> None:
    """Uses hypothesis values too, and follows links between operations."""
    done = attack(server, tmp_path, "coverage", "fuzzing", "stateful", examples=100)

    assert done.returncode == 0, done.stdout[-9000:]
