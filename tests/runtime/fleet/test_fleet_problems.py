"""A ``fleet.json`` that cannot be used is refused with everything that is wrong with it."""

import json
from typing import Any

import pytest

from mlops_runtime.fleet.fleet_problems import FleetFileError, read_fleet

BUILD = {"name": "build", "account": "111111111111", "region": "eu-west-1"}


def _text(*environments: Any, **changes: Any) -> str:
    return json.dumps({"format": "mlops.fleet/1", "environments": list(environments)} | changes)


def test_environments_keep_their_order() -> None:
    """It is the order in which a model passes them; one account may be there in two Regions."""
    recovery = {**BUILD, "name": "recovery", "region": "eu-central-1", "profile": "recovery"}
    role = {**BUILD, "name": "staging", "account": "222222222222", "role": "arn:aws:iam::222222222222:role/team/Reader"}

    found = read_fleet(_text(BUILD, role, recovery), name="fleet.json")

    assert [each.name for each in found.environments] == ["build", "staging", "recovery"]


@pytest.mark.parametrize(
    ("environments", "problems"),
    [
        ([], ["must not be empty"]),
        ([{**BUILD, "name": "Prod!"}], ["2 to 20 lower-case"]),
        ([{**BUILD, "account": "1", "region": "Ireland"}], ["12 digits, got '1'", "got 'Ireland'"]),
        ([{**BUILD, "role": "Reader"}], ["arn:aws:iam::111111111111:role/NAME, got 'Reader'"]),
        ([{**BUILD, "role": "arn:aws:iam::222222222222:role/R"}], ["of account 222222222222"]),
        ([{**BUILD, "role": "arn:aws:iam::111111111111:role/R", "profile": "p"}], ["not both"]),
        ([{**BUILD, "console": "http://console"}], ["https:// and a host", "got 'http://console'"]),
        ([BUILD, BUILD], ["2 environments are named 'build'", "111111111111 eu-west-1; list it once"]),
    ],
)
def test_each_problem_is_named(environments: list[Any], problems: list[str]) -> None:
    """With the value and what is allowed."""
    with pytest.raises(FleetFileError) as error:
        read_fleet(_text(*environments), name="fleet.json")

    assert [problem in str(error.value) for problem in problems] == [True] * len(problems)


@pytest.mark.parametrize("text", ["{", "[]", _text(BUILD, format="mlops.fleet/2"), _text({"name": "build"})])
def test_another_document_is_refused(text: str) -> None:
    """What is no JSON, another format, a field that is missing."""
    with pytest.raises(FleetFileError, match=r"fleet.json cannot be read as mlops.fleet/1"):
        read_fleet(text, name="fleet.json")
