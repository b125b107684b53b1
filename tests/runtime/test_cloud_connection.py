"""Endpoints and clock of a cloud connection; ``tests/cli/test_aws_account.py`` covers the embedded cloud."""

import io
import json
import sys
import urllib.error
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from mlops_runtime.cloud_connection import CloudConnection, EmbeddedCloudError, embedded_options
from mlops_runtime.retraining import run_history

KEYS: dict[str, Any] = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
LOCAL: dict[str, Any] = {"endpoint_url": "http://127.0.0.1:4566", "region_name": "us-east-1", **KEYS}


class _CloudError(RuntimeError):
    pass


class _Running:
    endpoint_url = LOCAL["endpoint_url"]

    def at(self, account: str | None, region: str | None) -> "_Running":
        """Return one of its accounts; it has one."""
        self.region = region or "us-east-1"
        if account not in (None, "000000000000"):
            raise _CloudError(f"the embedded cloud has no account {account}")
        return self

    def environment(self) -> dict[str, str]:
        """As the embedded cloud says it."""
        return {"AWS_REGION": self.region, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def _installed(monkeypatch: pytest.MonkeyPatch, *, running: bool) -> None:
    """Put an embedded cloud there."""
    cloud: Any = ModuleType("mlops_local.cloud")

    def connect(home: Path) -> _Running:
        if not running:
            raise _CloudError(f"no embedded cloud runs in {home}")
        return _Running()

    cloud.connect, cloud.default_home, cloud.CloudError = connect, lambda: Path("home"), _CloudError
    monkeypatch.setitem(sys.modules, "mlops_local.cloud", cloud)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def _answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Any]:
    """Answer what the clock is asked; return the requests."""
    requests: list[Any] = []

    def open_(request: Any, timeout: float) -> Any:
        del timeout
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(json.dumps(answer).encode())

    monkeypatch.setattr("urllib.request.urlopen", open_)
    return requests


def test_an_embedded_cloud_that_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the default folder too, unless the environment names an account."""
    _installed(monkeypatch, running=True)
    assert embedded_options("home") == embedded_options(None) == LOCAL
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert embedded_options(None) is None
    assert embedded_options("home") == embedded_options(None, "000000000000") == LOCAL
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert embedded_options("home") == LOCAL
    assert embedded_options(None, "000000000000") == {**LOCAL, "region_name": "eu-west-1"}
    with pytest.raises(EmbeddedCloudError, match="no account 111111111111"):
        embedded_options(None, "111111111111")


def test_one_that_is_named_must_run_and_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not named may be missing."""
    _installed(monkeypatch, running=False)
    assert embedded_options(None) is None
    with pytest.raises(EmbeddedCloudError, match=r"no embedded cloud runs in elsewhere"):
        embedded_options("elsewhere")
    monkeypatch.setitem(sys.modules, "mlops_local.cloud", None)
    assert embedded_options(None) is None
    with pytest.raises(EmbeddedCloudError, match="pip install 'mlops-cli\\[local\\]'"):
        embedded_options("elsewhere")


def test_a_client_is_made_once_for_a_region() -> None:
    """And has a connection for each reader, else a list of runs would drop some and warn."""
    made = CloudConnection(session=boto3.Session(region_name="us-east-1", **KEYS))
    assert made.client("s3") is made.client("s3")
    assert made.client("s3").meta.region_name == "us-east-1"
    assert made.client("s3", "eu-west-1").meta.region_name == "eu-west-1"
    assert made.client("s3").meta.config.max_pool_connections >= run_history._READERS


def test_the_time_is_the_embedded_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked with a signature, in UTC."""
    requested = _answering(monkeypatch, {"now": "2017-08-20T11:00:00+02:00", "scale": 60})
    found = CloudConnection(session=boto3.Session(), options=LOCAL)
    assert found.now() == datetime(2017, 8, 20, 9, tzinfo=UTC)
    assert found.clock() == (found.now(), 60)
    assert requested[0].full_url == "http://127.0.0.1:4566/_mlops/clock"
    assert "AWS4-HMAC-SHA256" in requested[0].headers["Authorization"]


def test_elsewhere_the_time_is_that_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of AWS, and of another endpoint on this machine, which has no such clock."""

    class Sts:
        def __init__(self, endpoint_url: str) -> None:
            self.meta = type("Meta", (), {"endpoint_url": endpoint_url})

        def get_caller_identity(self) -> Any:
            headers = {"date": "Sun, 20 Aug 2017 10:00:00 GMT"}
            return {"Arn": "arn", "UserId": "AIDA", "ResponseMetadata": {"HTTPHeaders": headers}}

    requested = _answering(monkeypatch, {"message": "none"})
    for url, requests in (("https://sts.amazonaws.com", 0), ("http://127.0.0.1:1", 1)):
        found = CloudConnection(session=boto3.Session(), options=LOCAL, made={("sts", None): Sts(url)})
        assert found.now() == datetime(2017, 8, 20, 10, tzinfo=UTC)
        assert len(requested) == requests
    assert found.identity() == ("arn", "AIDA", found.now())


def test_the_embedded_clock_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it refuses is in its own words; one that does not answer is named."""
    to, found = datetime(2017, 8, 21, tzinfo=UTC), CloudConnection(session=boto3.Session(), options=LOCAL)
    requested = _answering(monkeypatch, {})
    found.move_clock(to)
    assert (requested[0].method, json.loads(requested[0].data)) == ("POST", {"jump_to": to.isoformat()})
    refused = urllib.error.HTTPError("", 400, "", Message(), io.BytesIO(b'{"message": "the clock moves forward"}'))
    _answering(monkeypatch, refused)
    with pytest.raises(EmbeddedCloudError, match=r"^the clock moves forward$"):
        found.move_clock(to)
    _answering(monkeypatch, OSError("refused"))
    with pytest.raises(
        EmbeddedCloudError, match=r"^the embedded cloud at http://127.0.0.1:4566 does not respond: refused$"
    ):
        found.move_clock(to)
