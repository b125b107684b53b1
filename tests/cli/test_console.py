"""The console verb in a child process, on an embedded cloud."""

import http.client
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_local.cloud import Cloud

_number = itertools.count(1)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    ],
}
MAY_LIST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ssm:GetParametersByPath", "Resource": "*"}],
}


@contextmanager
def opened(cloud: Cloud, folder: Path, *options: str) -> Iterator[Any]:
    """Run the console, and yield a client of its API."""
    command = [sys.executable, "-m", "mlops_cli", "console", "--home", str(cloud.home), *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            root, _, token = running.stdout.readline().removeprefix("console: ").strip().partition("#token=")

            def ask(path: str) -> tuple[int, dict[str, Any]]:
                connection = http.client.HTTPConnection(root.removeprefix("http://").rstrip("/"), timeout=60)
                connection.request("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
                answered = connection.getresponse()
                found = answered.status, json.loads(answered.read())
                connection.close()
                return found

            yield ask
        finally:
            running.terminate()
    assert running.returncode == 143


def test_the_console_opens_on_this_machine(cloud: Cloud, tmp_path: Path) -> None:
    """Prints an address whose token the API accepts, and exits on SIGTERM."""
    with opened(cloud, tmp_path) as ask:
        status, me = ask("/me")

    assert (status, me["person"], me["roles"]) == (200, "root", ["reader", "on-call", "approver"])


def test_a_role_offers_what_it_may(cloud: Cloud, tmp_path: Path) -> None:
    """The on-call role may read and roll back, but decide on no package."""
    with opened(cloud, tmp_path, "--role", "on-call") as ask:
        _, me = ask("/me")

    assert me["roles"] == ["reader", "on-call"]
    assert ("rollBack" in me["operations"], "approve" in me["operations"]) == (True, False)


def test_an_iam_role_is_taken_by_name(cloud: Cloud, deployed: DeployedUnit, tmp_path: Path) -> None:
    """The reason of IAM's denial is shown; the clock is still the embedded cloud's."""
    iam, name = cloud.client("iam"), f"ConsoleReader{next(_number)}"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=name, PolicyName="List", PolicyDocument=json.dumps(MAY_LIST))

    with opened(cloud, tmp_path, "--role", f"reader={name}") as ask:
        _, me = ask("/me")
        listed, units = ask("/units")
        status, problem = ask(f"/units/{deployed.name}")

    assert f":assumed-role/{name}/root" in me["caller"]
    assert datetime.fromisoformat(me["now"]) <= datetime.fromisoformat(deployed.cloud.clock()["now"])
    assert (listed, deployed.name in [each["unit"] for each in units["units"]]) == (200, True)
    assert (status, problem["title"]) == (403, "not allowed")
    assert "docs/operations.md lists the permissions of each command" in problem["detail"]


@pytest.mark.parametrize("role", ["owner", "on-call,approver", ""])
def test_an_unknown_role_is_refused(in_process: Any, role: str) -> None:
    """The error lists the roles."""
    done = in_process("console", "--role", role)

    assert done.returncode == 1
    assert "--role must be one of reader, on-call, approver" in done.stderr
