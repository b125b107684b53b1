"""CloudFormation types of REST APIs, as far as MiniStack lacks them: method properties, request validators, stage logs."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ministack.services import apigateway_v1 as v1
from ministack.services.cloudformation import provisioners

from mlops_local.gateway import definition_checks

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
_HANDLERS = provisioners._RESOURCE_HANDLERS
_FLAGS = {
    "name": "Name",
    "validateRequestBody": "ValidateRequestBody",
    "validateRequestParameters": "ValidateRequestParameters",
}


class MethodError(ValueError):
    """AWS rejects a method of a template."""


class StageError(ValueError):
    """AWS rejects a stage of a template."""


def install() -> None:
    """Complete MiniStack's handlers, and register request validators."""
    # claim: gateway-responses-are-declared
    methods, stages = _HANDLERS["AWS::ApiGateway::Method"], _HANDLERS["AWS::ApiGateway::Stage"]
    for verb in ("create", "update"):
        methods[verb], stages[verb] = partial(_changed_method, methods[verb]), partial(_changed_stage, stages[verb])
    # claim: gateway-validators-are-resources
    _HANDLERS["AWS::ApiGateway::RequestValidator"] = {
        "create": _create_validator, "update": _update_validator, "delete": _delete_validator,
    }  # fmt: skip


# claim: gateway-responses-are-declared
def _changed_method(change: Callable[..., Any], *arguments: Any) -> Any:
    """Reject methods that AWS rejects, and add the properties that MiniStack drops."""
    given: Properties = arguments[-2]
    integration = given.get("Integration") or {}
    declared = {_status(each): _lower(each) for each in given.get("MethodResponses") or ()}
    problems = [definition_checks.integration_problem(_lower(integration))]
    problems += [
        definition_checks.response_problem({"methodResponses": declared}, _status(each), _lower(each))
        for each in integration.get("IntegrationResponses") or ()
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise MethodError(f"AWS::ApiGateway::Method {given.get('HttpMethod', 'ANY')}: {json.dumps(found)}")
    made = change(*arguments)
    record = definition_checks.method(
        given.get("RestApiId", ""), given.get("ResourceId", ""), given.get("HttpMethod", "ANY")
    )
    record["requestValidatorId"] = given.get("RequestValidatorId")
    if record.get("methodIntegration"):
        kept = ("connectionId", "integrationTarget", "contentHandling")
        record["methodIntegration"] |= {
            name: value for name, value in _lower(integration).items() if name in kept and value
        }
    return made


def _changed_stage(change: Callable[..., Any], *arguments: Any) -> Any:
    """Store a stage's access log destination; CloudWatch Logs requires the account's role for it."""
    given: Properties = arguments[-2]
    destination = str((given.get("AccessLogSetting") or {}).get("DestinationArn") or "")
    # claim: gateway-logs-need-the-accounts-role
    if destination.split(":")[2:3] == ["logs"] and not json.loads(v1._get_account()[2]).get("cloudwatchRoleArn"):
        raise StageError("CloudWatch Logs role ARN must be set in account settings to enable logging")
    made = change(*arguments)
    stage = v1._stages_v1.get(given["RestApiId"], {}).get(given.get("StageName", ""))
    if stage is not None:
        stage["accessLogSettings"] = _lower(given.get("AccessLogSetting") or {})
    return made


def _create_validator(_logical_id: str, given: Properties, _stack: str) -> Created:
    answer = v1._create_request_validator(given["RestApiId"], _validator(given))
    made = json.loads(answer[2])
    return made["id"], {"RequestValidatorId": made["id"]}


def _update_validator(physical_id: str, old: Properties, new: Properties, stack: str) -> Created:
    if any(old.get(name) != new.get(name) for name in ("RestApiId", "Name")):
        return _create_validator(physical_id, new, stack)
    v1._request_validators[new["RestApiId"]][physical_id] |= _validator(new)
    return physical_id, {"RequestValidatorId": physical_id}


def _delete_validator(physical_id: str, given: Properties) -> None:
    v1._delete_request_validator(given["RestApiId"], physical_id)


def _validator(given: Mapping[str, Any]) -> Properties:
    return {to: given[name] for to, name in _FLAGS.items() if name in given}


def _status(response: Mapping[str, Any]) -> str:
    return str(response.get("StatusCode", "200"))


def _lower(given: Mapping[str, Any]) -> Properties:
    return {name[0].lower() + name[1:]: value for name, value in given.items()}
