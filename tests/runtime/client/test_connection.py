"""The account that a client uses; ``tests/runtime/test_cloud_connection.py`` covers its connection."""

from pathlib import Path

import boto3
import pytest

from mlops_runtime.client.connection import Connection, UnitError


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "MLOPS_LOCAL_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_session_is_taken_as_it_is() -> None:
    """No embedded cloud is looked for."""
    session = boto3.Session(region_name="us-east-1")
    assert (Connection.open(session).session, Connection.open(session).options) == (session, {})


def test_without_an_embedded_cloud_the_environments_account_counts(tmp_path: Path) -> None:
    """One that was named must run."""
    assert Connection.open().options == {}
    with pytest.raises(UnitError, match=r"no embedded cloud runs in .*; start one with `mlops local up`"):
        Connection.open(home=tmp_path)


def test_fails_for_both() -> None:
    """One of them is meant."""
    with pytest.raises(UnitError, match="give session or home, not both"):
        Connection.open(boto3.Session(), home="home")
