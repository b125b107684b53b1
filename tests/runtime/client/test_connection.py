"""Where a client's calls go; ``tests/examples/test_own_model.py`` takes the embedded cloud."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from mlops_runtime.client import connection
from mlops_runtime.client.connection import Connection, UnitError

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


class _CloudError(RuntimeError):
    pass


class _Running:
    endpoint_url = "http://127.0.0.1:4566"

    def environment(self) -> dict[str, str]:
        """As the embedded cloud says it."""
        return {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def _installed(monkeypatch: pytest.MonkeyPatch, *, running: bool) -> None:
    """Put an embedded cloud there."""
    cloud: Any = ModuleType("mlops_local.cloud")

    def connect(home: Path) -> _Running:
        if not running:
            raise _CloudError(f"no embedded cloud runs in {home}")
        return _Running()

    cloud.connect, cloud.default_home, cloud.CloudError = connect, lambda: Path("home"), _CloudError
    monkeypatch.setitem(sys.modules, "mlops_local.cloud", cloud)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_session_is_taken_as_it_is() -> None:
    """And each client is made once."""
    session = boto3.Session(region_name="us-east-1", **KEYS)
    made = Connection.open(session)
    assert made.client("s3") is made.client("s3")
    assert made.client("s3").meta.region_name == "us-east-1"


def test_an_embedded_cloud_that_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the default folder too, unless the environment names an account."""
    _installed(monkeypatch, running=True)
    for found in (Connection.open(home="home"), Connection.open()):
        assert found.client("s3").meta.endpoint_url == "http://127.0.0.1:4566"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert Connection.open().options == {}


def test_without_one_the_environments_account_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was named must run, and be installed."""
    _installed(monkeypatch, running=False)
    assert Connection.open().options == {}
    with pytest.raises(UnitError, match="no embedded cloud runs in elsewhere"):
        Connection.open(home="elsewhere")
    monkeypatch.setitem(sys.modules, "mlops_local.cloud", None)
    assert Connection.open().options == {}
    with pytest.raises(UnitError, match="pip install 'mlops-cli\\[local\\]'"):
        Connection.open(home="elsewhere")


def test_fails_for_both() -> None:
    """One of them is meant."""
    with pytest.raises(UnitError, match="give session or home, not both"):
        Connection.open(boto3.Session(), home="home")


def test_the_time_is_the_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the embedded cloud its clock's, asked with a signature; elsewhere that of the answer's header."""
    asked: list[Any] = []

    def open_(request: Any, timeout: float) -> Any:
        del timeout
        asked.append(request)
        return io.BytesIO(json.dumps({"now": "2017-08-20T09:00:00+00:00"}).encode())

    monkeypatch.setattr(connection.urllib.request, "urlopen", open_)
    options = {"endpoint_url": "http://127.0.0.1:4566", "region_name": "us-east-1", **KEYS}
    found = Connection(session=boto3.Session(), options=options)
    assert found.now() == datetime(2017, 8, 20, 9, tzinfo=UTC)
    assert asked[0].full_url == "http://127.0.0.1:4566/_mlops/clock"
    assert "AWS4-HMAC-SHA256" in asked[0].headers["Authorization"]

    class Sts:
        meta = type("Meta", (), {"endpoint_url": "https://sts.amazonaws.com"})

        def get_caller_identity(self) -> Any:
            headers = {"date": "Sun, 20 Aug 2017 10:00:00 GMT"}
            return {"UserId": "AIDA", "ResponseMetadata": {"HTTPHeaders": headers}}

    account = Connection(session=boto3.Session(), made={"sts": Sts()})
    assert account.now() == datetime(2017, 8, 20, 10, tzinfo=UTC)
    assert account.user_id() == "AIDA"
