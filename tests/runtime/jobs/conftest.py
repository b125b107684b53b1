"""Fixtures of the monitor's jobs: an S3 server for several processes, and capture lines."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.runtime.monitor.conftest import baseline, lines

__all__ = ["baseline", "lines"]


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset boto3's default session, which keeps the first credentials of the process, so that a test's environment applies."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serve S3 to this process and its children, without objects of another module."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    with urllib.request.urlopen(f"{url}/moto-api/reset", data=b"") as answer:  # noqa: S310 - loopback
        assert answer.status == 200
    yield url
    moto.stop()


def job_environment(server: str) -> dict[str, str]:
    """Return the variables by which a job finds AWS."""
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client with two buckets, in the environment of a job."""
    for name, value in job_environment(server).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    for bucket in ("artifacts", "captures"):
        client.create_bucket(Bucket=bucket)
    return client
