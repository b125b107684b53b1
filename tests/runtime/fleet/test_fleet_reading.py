"""Environments are read at once, and one that fails does not hide another."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from mlops_runtime.contracts.fleet import FleetEnvironment
from mlops_runtime.fleet.fleet_reading import read_environments

NOW = datetime(2017, 8, 10, 12, tzinfo=UTC)
BUILD = FleetEnvironment(name="build", account="111111111111", region="eu-west-1")
STAGING = FleetEnvironment(name="staging", account="222222222222", region="eu-west-1")


def _empty(environment: FleetEnvironment) -> Any:
    """An account in which nothing is deployed."""
    ssm = boto3.client("ssm", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(ssm)
    stub.add_response("get_parameters_by_path", {"Parameters": []})
    stub.activate()
    identity = SimpleNamespace(arn=f"arn:aws:sts::{environment.account}:assumed-role/Reader/ann")
    return SimpleNamespace(client=lambda _service: ssm, identity=lambda: identity)


def test_an_account_that_does_not_answer_is_named() -> None:
    """The others are read; one without units has no models and no reason."""

    def connect(environment: FleetEnvironment) -> Any:
        if environment is STAGING:
            raise EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com")
        return _empty(environment)

    view = read_environments([BUILD, STAGING], connect, now=NOW)

    assert (view.models, list(view.unread)) == ((), ["staging"])
    assert "https://sts.eu-west-1.amazonaws.com" in view.unread["staging"]


def test_credentials_of_another_account_are_not_read_as_this_one() -> None:
    """A profile that names another account would show its models under a wrong name."""
    view = read_environments([BUILD], lambda _: _empty(STAGING), now=NOW)

    assert "of account 222222222222; give the environment a role or profile of 111111111111" in view.unread["build"]
