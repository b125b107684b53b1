"""Several accounts on one page: each connected once, and retried after a failure."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from mlops_runtime.console.fleet_page import Fleet
from mlops_runtime.console.http_message import Call
from mlops_runtime.contracts.fleet import FleetEnvironment

NOW = datetime(2017, 8, 10, 12, tzinfo=UTC)
BUILD = FleetEnvironment(name="build", account="111111111111", region="eu-west-1")
STAGING = FleetEnvironment(
    name="staging", account="222222222222", region="eu-west-1", console="https://staging.example.com"
)


def empty(environment: FleetEnvironment) -> Any:
    """An account in which nothing is deployed, for as many looks as a test has."""
    ssm = boto3.client("ssm", region_name=environment.region, aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(ssm)
    for _ in range(3):
        stub.add_response("get_parameters_by_path", {"Parameters": []})
    stub.activate()
    identity = SimpleNamespace(arn=f"arn:aws:sts::{environment.account}:assumed-role/Reader/ann")
    return SimpleNamespace(client=lambda _service: ssm, identity=lambda: identity)


def test_each_account_is_connected_to_once() -> None:
    """One that could not be is tried again; the console's own account is named, and the addresses of others' consoles."""
    requests: list[str] = []

    def connect(environment: FleetEnvironment) -> Any:
        requests.append(environment.name)
        if requests == ["build", "staging"] or (environment is STAGING and requests.count("staging") == 1):
            raise EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com")
        return empty(environment)

    fleet, own = Fleet([BUILD, STAGING], connect), empty(BUILD)
    first, second = (fleet.page(Call(cloud=own, reader=own, now=NOW)) for _ in range(2))

    assert sorted(requests) == ["build", "staging", "staging"]
    assert (list(first.unread), list(second.unread)) == (["staging"], [])
    assert (first.environments, first.here) == (("build", "staging"), "build")
    assert first.consoles == {"staging": "https://staging.example.com"}


def test_a_console_may_be_outside_of_its_fleet() -> None:
    """Such as one in the account of operations, or in another Region of a fleet's account."""
    elsewhere = empty(FleetEnvironment(name="else", account="111111111111", region="eu-central-1"))

    page = Fleet([BUILD], empty).page(Call(cloud=elsewhere, reader=elsewhere, now=NOW))

    assert page.here is None
