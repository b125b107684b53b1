"""What Step Functions refuses when a state machine is made or changed, and MiniStack takes.

A field of an optimized task that its integration does not support fails the definition: at CreateStateMachine, UpdateStateMachine
and ValidateStateMachineDefinition, and through CloudFormation, which calls them. The words are AWS's, from
https://github.com/aws/amazon-sagemaker-examples/issues/4492.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners

from mlops_local import compat
from mlops_runtime.aws_api import UnsupportedField, unsupported_fields

compat.expect(
    "ministack.core.responses", json_response="(data, status=200, *, content_type='application/x-amz-json-1.0')"
)
compat.expect(
    "ministack.services.stepfunctions",
    _create_state_machine="(data)",
    _update_state_machine="(data)",
    _validate_state_machine_definition="(data)",
)
compat.expect(
    "ministack.services.cloudformation.provisioners",
    _RESOURCE_HANDLERS=dict,
    _sfn_definition="(props)",
    _sfn_handler_error="(message)",
)

Response = tuple[int, Any, Any]
Properties = dict[str, Any]
_CODE = "SCHEMA_VALIDATION_FAILED"
_DIAGNOSTICS = 100  # of one answer: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ValidateStateMachineDefinition.html


def install() -> None:
    """Put the checks in front of the API and of CloudFormation's handler."""
    sfn._create_state_machine = _checked(sfn._create_state_machine)
    sfn._update_state_machine = _checked(sfn._update_state_machine)
    sfn._validate_state_machine_definition = validate
    handler = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    create = handler["create"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        problem = definition_problem(provisioners._sfn_definition(properties))
        if problem is not None:
            raise provisioners._sfn_handler_error(problem)
        return create(logical_id, properties, stack)

    handler["create"] = created


def definition_problem(definition: object) -> str | None:
    """Return Step Functions' message for the first unsupported field of a definition, if it has one.

    Args:
        definition: The definition as JSON text.
    """
    # claim: step-functions-optimized-task-fields
    for found in _unsupported(definition):
        return f"Invalid State Machine Definition: '{_CODE}: {found.refusal} at {found.location}'"
    return None


def validate(data: Mapping[str, Any]) -> Response:
    """ValidateStateMachineDefinition: every unsupported field as a diagnostic of severity ERROR."""
    # claim: step-functions-validates-task-fields
    found = [
        {"severity": "ERROR", "code": _CODE, "message": field.refusal, "location": field.location}
        for field in _unsupported(data.get("definition"))
    ]
    most = min(data.get("maxResults") or _DIAGNOSTICS, _DIAGNOSTICS)
    answer = {"result": "FAIL" if found else "OK", "diagnostics": found[:most], "truncated": len(found) > most}
    response: Response = json_response(answer)
    return response


def _checked(call: Callable[[Mapping[str, Any]], Response]) -> Callable[[Mapping[str, Any]], Response]:
    def checked(data: Mapping[str, Any]) -> Response:
        problem = definition_problem(data.get("definition"))
        if problem is not None:
            refused: Response = error_response_json("InvalidDefinition", problem, 400)
            return refused
        return call(data)

    return checked


def _unsupported(definition: object) -> Iterator[UnsupportedField]:
    try:
        parsed = json.loads(str(definition))
    except ValueError:
        return  # MiniStack judges JSON itself
    if isinstance(parsed, dict):
        yield from unsupported_fields(parsed)
