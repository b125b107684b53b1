"""Check every AWS call of an Amazon States Language definition against the API's own model.

Step Functions accepts definitions whose tasks cannot succeed: a misspelled field fails when the state first runs. This check
fails at synthesis. JSONata expressions (``{% %}``), JSONPath references (``Field.$``) and CDK tokens match every shape.

See: https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.aws_api.api_request import Severity, UnknownOperationError, check_request, operation_name
from mlops_runtime.aws_api.optimized_tasks import tasks_of, unsupported_of_task
from mlops_runtime.aws_api.service_models import UnknownServiceError

_RESOURCE = re.compile(
    r"arn:[^:]+:states:[^:]*:[^:]*:(?P<sdk>aws-sdk:)?(?P<service>[a-z0-9-]+):(?P<action>[A-Za-z0-9]+)(?P<pattern>\.sync(:2)?|\.waitForTaskToken)?"
)
_SYNC = frozenset({"", ".sync"})
_CALL = frozenset({""})
_CALLBACK = frozenset({"", ".waitForTaskToken"})
# Optimized integrations and the patterns of each. https://docs.aws.amazon.com/step-functions/latest/dg/integrate-optimized.html
_OPTIMIZED: dict[str, dict[str, frozenset[str]]] = {
    "dynamodb": dict.fromkeys(("getItem", "putItem", "updateItem", "deleteItem"), _CALL),
    "events": {"putEvents": _CALLBACK},
    "glue": {"startJobRun": _SYNC},
    "lambda": {"invoke": _CALLBACK},
    "sagemaker": {
        **dict.fromkeys(
            (
                "createTrainingJob",
                "createProcessingJob",
                "createTransformJob",
                "createHyperParameterTuningJob",
                "createLabelingJob",
            ),
            _SYNC,
        ),
        **dict.fromkeys(("createModel", "createEndpointConfig", "createEndpoint", "updateEndpoint"), _CALL),
    },
    "sns": {"publish": _CALLBACK},
    "sqs": {"sendMessage": _CALLBACK},
    "states": {"startExecution": frozenset({"", ".sync", ".sync:2", ".waitForTaskToken"})},
}
_OPTIMIZED_MODELS = {"states": "stepfunctions"}
# Fields for which an optimized integration accepts JSON and serializes it.
_FREE_FORM: dict[str, frozenset[str]] = {
    "events": frozenset({"Detail"}),
    "lambda": frozenset({"Payload"}),
    "sns": frozenset({"Message"}),
    "sqs": frozenset({"MessageBody"}),
    "states": frozenset({"Input"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFinding:
    """One problem of a state machine: the state, the path in its arguments and a message."""

    state: str
    path: str
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"state {self.state!r}: {self.path} {self.message}"


def check_machine(definition: Mapping[str, Any]) -> list[MachineFinding]:
    """Check the arguments of every AWS task of a state machine, also inside Map and Parallel states.

    Returns:
        Every problem, in the order of the states.

    Example:
        >>> states = {"Describe": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
        ...                        "Arguments": {"Name": "a"}, "End": True}}
        >>> for finding in check_machine({"QueryLanguage": "JSONata", "StartAt": "Describe", "States": states}):
        ...     print(finding)
        state 'Describe': $.Name is not a field of DescribeEndpointInput
        state 'Describe': $.EndpointName is missing
    """
    return [
        finding
        for name, state, language, location in tasks_of(definition)
        for finding in _check_task(name, state, location, is_jsonata=language == "JSONata")
    ]


def _check_task(name: str, state: Mapping[str, Any], location: str, *, is_jsonata: bool) -> Iterator[MachineFinding]:
    resource = state.get("Resource", "")
    match = _RESOURCE.fullmatch(re.sub(r"\$\{[^{}]*\}", "aws", resource))
    if match is None:
        if not _is_wildcard(resource) and ":lambda:" not in resource and ":activity:" not in resource:
            message = f"must be the ARN of a service integration, a function or an activity, got {resource!r}"
            yield MachineFinding(state=name, path="Resource", message=message)
        return
    service, action, pattern = match["service"], match["action"], match["pattern"] or ""
    free_form: frozenset[str] = frozenset()
    if match["sdk"] is None:
        problem = _optimized_problem(service, action, pattern)
        if problem is not None:
            yield MachineFinding(state=name, path="Resource", message=problem)
            return
        free_form = _FREE_FORM.get(service, free_form)
        service = _OPTIMIZED_MODELS.get(service, service)
    try:
        operation = operation_name(service, action)
    except (UnknownServiceError, UnknownOperationError) as error:
        yield MachineFinding(state=name, path="Resource", message=f"is not an AWS API action: {error}")
        return
    arguments = state.get("Arguments", {}) if is_jsonata else _without_references(state.get("Parameters", {}))
    if _is_wildcard(arguments):
        return
    key = "Arguments" if is_jsonata else "Parameters"
    for field in unsupported_of_task(name, f"{location}/{key}", match[0], arguments):
        yield MachineFinding(state=name, path=f"$.{field.path}", message=field.advice)
    for found in check_request(service, operation, arguments, is_wildcard=_is_wildcard, free_form=free_form):
        yield MachineFinding(state=name, path=found.path, message=found.message, severity=found.severity)


def _optimized_problem(service: str, action: str, pattern: str) -> str | None:
    actions = _OPTIMIZED.get(service)
    if actions is None:
        known = ", ".join(_OPTIMIZED)
        return f"has no known optimized integration {service!r}; use aws-sdk:{service} or one of {known}"
    if action not in actions:
        return (
            f"has no optimized action {service}:{action}; use aws-sdk:{service}:{action} or one of {', '.join(actions)}"
        )
    if pattern not in actions[action]:
        allowed = ", ".join(sorted(f"{service}:{action}{p}" for p in actions[action]))
        return f"has no pattern {pattern!r} of {service}:{action}; use {allowed}"
    return None


def _is_wildcard(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith("{%") or "${" in value or "#{Token[" in value
    if isinstance(value, Mapping):
        # CDK has already resolved its tokens to a CloudFormation intrinsic function
        return len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], str) and value[0].startswith("#{Token[")
    # CDK encodes an unresolved number as a huge negative one
    return isinstance(value, float) and value < -1e200


def _without_references(value: Any) -> Any:
    """Replace JSONPath references (``"Field.$": "$.x"``) by a value that matches every shape."""
    if isinstance(value, Mapping):
        return {
            key.removesuffix(".$"): "{% %}" if key.endswith(".$") else _without_references(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_references(item) for item in value]
    return value
