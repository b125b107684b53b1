"""What the tests of the embedded cloud share: clouds of their own, and functions on them."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud, CloudError, connect, up


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Start the embedded cloud of `tmp_path / "cloud"`, again after it has ended: ``own_cloud(clock_scale=60)``."""
    home = tmp_path / "cloud"
    yield lambda **options: up(home, **options)
    try:
        connect(home).down()
    except CloudError:
        return


@pytest.fixture
def make_function() -> Callable[..., str]:
    """Make a function of files, with a role that may do nothing: ``make_function(cloud, "name", {"handler.py": code})``."""

    def make(cloud: Cloud, name: str, files: dict[str, str], **options: Any) -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = cloud.client("iam").create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        created = cloud.client("lambda").create_function(
            FunctionName=name, Runtime="python3.13", Handler="handler.handler", Role=role, Timeout=options.get("timeout", 30),
            Environment={"Variables": options.get("environment", {})}, Code={"ZipFile": buffer.getvalue()},
        )  # fmt: skip
        return str(created["FunctionArn"])

    return make


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """Look until something true is seen, and give it: ``wait_for(lambda: queue_messages())``; fails after ten real seconds."""

    def wait(look: Callable[[], Any], seconds: float = 10.0) -> Any:
        end = time.monotonic() + seconds
        while not (seen := look()):
            assert time.monotonic() < end, f"nothing within {seconds} s"
            time.sleep(0.05)
        return seen

    return wait
