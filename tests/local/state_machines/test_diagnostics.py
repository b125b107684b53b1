"""ValidateStateMachineDefinition.

See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

DONE = {"Type": "Pass", "End": True}


def validated(cloud: Cloud, definition: object, **more: Any) -> dict[str, Any]:
    """Return the diagnostics of a definition."""
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return dict(cloud.client("stepfunctions").validate_state_machine_definition(definition=text, **more))


def test_a_definition_that_leads_to_its_end_is_right(cloud: Cloud) -> None:
    """Also through branches."""
    branch = {"StartAt": "Inner", "States": {"Inner": {"Type": "Succeed"}}}
    states = {"First": {"Type": "Parallel", "Branches": [branch], "Next": "Done"}, "Done": DONE}

    found = validated(cloud, {"StartAt": "First", "States": states})

    assert (found["result"], found["diagnostics"], found["truncated"]) == ("OK", [], False)


@pytest.mark.parametrize(
    ("definition", "code", "location"),
    [
        ("{", "INVALID_JSON_DESCRIPTION", ""),
        ([], "SCHEMA_VALIDATION_FAILED", "/"),
        ({"StartAt": "A"}, "SCHEMA_VALIDATION_FAILED", "/"),
        ({"States": {"A": DONE}}, "SCHEMA_VALIDATION_FAILED", "/"),
        ({"StartAt": "B", "States": {"A": DONE}}, "MISSING_TRANSITION_TARGET", "/StartAt"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pas", "End": True}}}, "SCHEMA_VALIDATION_FAILED", "/States/A/Type"),
        ({"StartAt": "A", "States": {"A": {"Type": "Pass"}}}, "SCHEMA_VALIDATION_FAILED", "/States/A"),
        ({"StartAt": "A", "States": {"A": {"Type": "Task", "End": True}}}, "SCHEMA_VALIDATION_FAILED", "/States/A"),
        ({"StartAt": "A", "States": {"A": {"Type": "Choice"}}}, "SCHEMA_VALIDATION_FAILED", "/States/A"),
        ({"StartAt": "A", "States": {"A": 1}}, "SCHEMA_VALIDATION_FAILED", "/States/A"),
        (
            {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}},
            "MISSING_TRANSITION_TARGET",
            "/States/A/Next",
        ),
        (
            {"StartAt": "A", "States": {"A": {"Type": "Map", "End": True, "ItemProcessor": {"StartAt": "I"}}}},
            "SCHEMA_VALIDATION_FAILED",
            "/States/A/ItemProcessor/",
        ),
    ],
)
def test_what_leads_nowhere_is_named(cloud: Cloud, definition: object, code: str, location: str) -> None:
    """With its location."""
    found = validated(cloud, definition)

    assert found["result"] == "FAIL"
    assert [(d["severity"], d["code"], d["location"]) for d in found["diagnostics"]] == [("ERROR", code, location)]


@pytest.mark.parametrize(
    ("state", "location"),
    [
        ({"Type": "Parallel", "Branches": [1], "End": True}, "/States/A/Branches[0]/"),
        ({"Type": "Parallel", "Branches": 7, "End": True}, "/States/A/Branches"),
        ({"Type": "Map", "ItemProcessor": 3, "End": True}, "/States/A/ItemProcessor/"),
        ({"Type": "Choice", "Choices": [3]}, "/States/A/Choices[0]"),
        ({"Type": "Choice", "Choices": 3}, "/States/A/Choices"),
        ({"Type": "Choice", "Choices": [{"Next": ["A"]}]}, "/States/A/Choices[0]/Next"),
        ({"Type": "Task", "Resource": "r", "Catch": {}, "End": True}, "/States/A/Catch"),
        ({"Type": "Task", "Resource": "r", "Retry": [1], "End": True}, "/States/A/Retry[0]"),
        ({"Type": "Pass", "Next": ["A"]}, "/States/A/Next"),
        ({"Type": ["Pass"], "End": True}, "/States/A/Type"),
    ],
)
def test_values_of_another_type_are_named(cloud: Cloud, state: dict[str, Any], location: str) -> None:
    """A diagnostic instead of a crash."""
    found = validated(cloud, {"StartAt": "A", "States": {"A": state}})

    assert [(d["code"], d["location"]) for d in found["diagnostics"]] == [("SCHEMA_VALIDATION_FAILED", location)]


def test_the_start_is_a_name(cloud: Cloud) -> None:
    """A list of names is rejected."""
    (found,) = validated(cloud, {"StartAt": ["A"], "States": {"A": DONE}})["diagnostics"]

    assert (found["code"], found["location"]) == ("SCHEMA_VALIDATION_FAILED", "/StartAt")


def test_no_more_than_asked_for_are_returned(cloud: Cloud) -> None:
    """The response says that there are more."""
    states = {str(number): {"Type": "Pass"} for number in range(3)}

    found = validated(cloud, {"StartAt": "0", "States": states}, maxResults=2)

    assert (len(found["diagnostics"]), found["truncated"]) == (2, True)
