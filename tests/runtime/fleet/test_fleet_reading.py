"""Environments are read at once, and one that fails does not hide another; an invalid ``fleet.json`` is refused."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from mlops_runtime.contracts.fleet import FleetEnvironment
from mlops_runtime.fleet.fleet_reading import FleetFileError, read_environments, read_fleet

NOW = datetime(2017, 8, 10, 12, tzinfo=UTC)
BUILD = FleetEnvironment(name="build", account="111111111111", region="eu-west-1")
STAGING = FleetEnvironment(name="staging", account="222222222222", region="eu-west-1")


def _empty(environment: FleetEnvironment) -> Any:
    """Return an account without deployed resources."""
    ssm = boto3.client("ssm", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(ssm)
    stub.add_response("get_parameters_by_path", {"Parameters": []})
    stub.activate()
    identity = SimpleNamespace(arn=f"arn:aws:sts::{environment.account}:assumed-role/Reader/ann")
    return SimpleNamespace(client=lambda _service: ssm, identity=lambda: identity)


def test_an_account_that_does_not_answer_is_named() -> None:
    """The other accounts are read; an account without units has no models and no reason."""

    def connect(environment: FleetEnvironment) -> Any:
        if environment is STAGING:
            raise EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com")
        return _empty(environment)

    view = read_environments([BUILD, STAGING], connect, now=NOW)

    assert (view.models, list(view.unread)) == ((), ["staging"])
    assert "https://sts.eu-west-1.amazonaws.com" in view.unread["staging"]


def test_credentials_of_another_account_are_not_read_as_this_one() -> None:
    """A profile of another account would show that account's models under the wrong name."""
    view = read_environments([BUILD], lambda _: _empty(STAGING), now=NOW)

    assert "of account 222222222222; give the environment a role or profile of 111111111111" in view.unread["build"]


LISTED = {"name": "build", "account": "111111111111", "region": "eu-west-1"}


def _text(*environments: Any, **changes: Any) -> str:
    return json.dumps({"format": "mlops.fleet/1", "environments": list(environments)} | changes)


def test_environments_keep_their_order() -> None:
    """The order is that of a model's promotion; an account may occur in two Regions."""
    recovery = {**LISTED, "name": "recovery", "region": "eu-central-1", "profile": "recovery"}
    role = {
        **LISTED,
        "name": "staging",
        "account": "222222222222",
        "role": "arn:aws:iam::222222222222:role/team/Reader",
    }

    found = read_fleet(_text(LISTED, role, recovery), name="fleet.json")

    assert [each.name for each in found.environments] == ["build", "staging", "recovery"]


@pytest.mark.parametrize(
    ("environments", "problems"),
    [
        ([], ["must not be empty"]),
        ([{**LISTED, "name": "Prod!"}], ["2 to 20 lower-case"]),
        ([{**LISTED, "account": "1", "region": "Ireland"}], ["12 digits, got '1'", "got 'Ireland'"]),
        ([{**LISTED, "role": "Reader"}], ["arn:aws:iam::111111111111:role/NAME, got 'Reader'"]),
        ([{**LISTED, "role": "arn:aws:iam::222222222222:role/R"}], ["of account 222222222222"]),
        ([{**LISTED, "role": "arn:aws:iam::111111111111:role/R", "profile": "p"}], ["not both"]),
        ([{**LISTED, "console": "http://console"}], ["https:// and a host", "got 'http://console'"]),
        ([LISTED, LISTED], ["2 environments are named 'build'", "111111111111 eu-west-1; list it once"]),
    ],
)
def test_each_problem_is_named(environments: list[Any], problems: list[str]) -> None:
    """The message contains the value and what is allowed."""
    with pytest.raises(FleetFileError) as error:
        read_fleet(_text(*environments), name="fleet.json")

    assert [problem in str(error.value) for problem in problems] == [True] * len(problems)


@pytest.mark.parametrize("text", ["{", "[]", _text(LISTED, format="mlops.fleet/2"), _text({"name": "build"})])
def test_another_document_is_refused(text: str) -> None:
    """Invalid JSON, another format, and a missing field are rejected."""
    with pytest.raises(FleetFileError, match=r"fleet.json cannot be read as mlops.fleet/1"):
        read_fleet(text, name="fleet.json")
