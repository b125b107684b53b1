"""Authorization of state machine tasks by the machine's role.

An optimized integration is checked as the call that it makes; an `aws-sdk` integration by the wire request that MiniStack
builds. The further permissions of `.sync` are AWS's list:
https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import sqs, stepfunctions

from mlops_local.iam import authorization
from mlops_local.iam.request import Call, kms_context

_SYNC_RULES = {
    "createTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "createTransformJob": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "createProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "startExecution": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
# error names of denied optimized integrations
_ERRORS = {
    "lambda": "Lambda.AWSLambdaException",
    "sagemaker": "SageMaker.AmazonSageMakerException",
    "glue": "Glue.AccessDeniedException",
    "dynamodb": "DynamoDB.AccessDeniedException",
    "sns": "SNS.AuthorizationErrorException",
    "sqs": "SQS.AmazonSQSException",
    "events": "EventBridge.AccessDeniedException",
    "states": "StepFunctions.AWSStepFunctionsException",
}


@dataclass(frozen=True)
class _Machine:
    role: str
    arn: str
    name: str


_machine: contextvars.ContextVar[_Machine | None] = contextvars.ContextVar("mlops_machine", default=None)
_OPTIMIZED = re.compile(r"^arn:aws:states:::(?!aws-sdk:)(\w+):(\w+)((?:\.sync(?::2)?|\.waitForTaskToken)?)$")
_FUNCTION = re.compile(r"^arn:aws:lambda:[^:]+:\d{12}:function:")


def install() -> None:
    """Run every task of every execution as its machine's role."""
    execute, invoke = stepfunctions._execute_task, stepfunctions._invoke_resource
    callback, send = stepfunctions._invoke_with_callback, app.call_service_handler_sync

    def execute_as_role(state: Any, raw_input: Any, execution: dict[str, Any], ctx: Any) -> Any:
        machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
        role = _Machine(machine["roleArn"], machine["stateMachineArn"], execution["name"])
        token, acting = _machine.set(role), authorization.acting.set(partial(_assume, role))
        try:
            return execute(state, raw_input, execution, ctx)
        finally:
            _machine.reset(token)
            authorization.acting.reset(acting)

    def invoke_as_role(resource: str, data: Any) -> Any:
        _authorize(resource, data)
        return invoke(resource, data)

    def callback_as_role(resource: str, data: Any, token: str, state: Any) -> Any:
        _authorize(resource, data)
        return callback(resource, data, token, state)

    def send_as_role(  # noqa: PLR0917 - MiniStack's own signature
        handler: Any,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Any,
        params: Any,
        timeout: float | None = None,
    ) -> Any:
        refused = _refuse_wire(method, path, headers, body, params)
        return refused if refused is not None else send(handler, method, path, headers, body, params, timeout)

    stepfunctions._execute_task = execute_as_role
    stepfunctions._invoke_resource = invoke_as_role
    stepfunctions._invoke_with_callback = callback_as_role
    app.call_service_handler_sync = send_as_role


def running() -> str | None:
    """Return the ARN of the execution whose task calls this; None outside of tasks."""
    machine = _machine.get()
    return None if machine is None else f"{machine.arn.replace(':stateMachine:', ':execution:')}:{machine.name}"


def calls(resource: str, data: Mapping[str, Any]) -> list[Call]:
    """Return the calls of a task's optimized integration; empty for `aws-sdk` tasks and activities."""
    region, account = get_region(), get_account_id()
    if _FUNCTION.match(resource):
        return [Call("lambda", "lambda:InvokeFunction", resource, region, account)]
    match = _OPTIMIZED.match(resource)
    if match is None:
        return []
    service, operation, suffix = match.groups()
    action = f"{service}:{operation[0].upper()}{operation[1:]}"
    call = Call(service, action, "*", region, account, data)
    if service == "lambda":
        name = str(data.get("FunctionName", ""))
        arn = name if name.startswith("arn:") else f"{call.arn_prefix('lambda')}function:{name}"
        call = replace(call, action="lambda:InvokeFunction", resource=arn)
    elif service == "dynamodb":
        call = replace(call, resource=f"{call.arn_prefix('dynamodb')}table/{data.get('TableName', '')}")
    elif service == "sns":
        call = replace(call, resource=str(data.get("TopicArn", "*")))
    elif service == "sqs":
        queue = sqs._queues.get(str(data.get("QueueUrl", ""))) or {}
        call = replace(call, resource=queue.get("attributes", {}).get("QueueArn", "*"))
    elif service == "events":
        return [replace(call, resource=bus) for bus in _buses(call)]
    elif service == "glue":
        call = replace(call, resource=f"{call.arn_prefix('glue')}job/{data.get('JobName', '')}")
    elif service == "states":
        call = replace(call, resource=str(data.get("StateMachineArn") or data.get("stateMachineArn") or "*"))
    return [call, *_sync_calls(call, operation)] if suffix.startswith(".sync") else [call]


def _buses(call: Call) -> list[str]:
    names = {str(entry.get("EventBusName") or "default") for entry in call.body.get("Entries") or [{}]}
    return sorted(name if name.startswith("arn:") else f"{call.arn_prefix('events')}event-bus/{name}" for name in names)


def _sync_calls(call: Call, operation: str) -> list[Call]:
    """Return the calls needed to follow a job to its end: describing it, stopping it, and the managed rule for its end event."""
    found: list[Call] = []
    if call.service == "sagemaker":
        kind = operation.removeprefix("create")
        found = [replace(call, action=f"sagemaker:{verb}{kind}") for verb in ("Describe", "Stop")]
    elif call.service == "glue":
        # claim: glue-rights-are-of-one-job
        return [replace(call, action=f"glue:{verb}") for verb in ("GetJobRun", "GetJobRuns", "BatchStopJobRun")]
    elif call.service == "states":
        name = call.resource.rpartition(":")[2]
        execution = f"{call.arn_prefix('states')}execution:{name}:{call.body.get('Name', '*')}"
        found = [replace(call, action=f"states:{verb}Execution", resource=execution) for verb in ("Describe", "Stop")]
    if operation in _SYNC_RULES:
        rule = f"{call.arn_prefix('events')}rule/{_SYNC_RULES[operation]}"
        operations = ("PutTargets", "PutRule", "DescribeRule")
        found += [Call("events", f"events:{name}", rule, call.region, call.account) for name in operations]
    return found


def _authorize(resource: str, data: Any) -> None:
    # claim: machine-needs-rights-for-each-task
    machine = _machine.get()
    if machine is None:
        return
    service = resource.split(":")[5] if resource.startswith("arn:aws:states:::") else "lambda"
    try:
        session = _assume(machine)
        for call in calls(resource, data if isinstance(data, Mapping) else {}):
            authorization.require_call(session, call)
    except authorization.AccessDeniedError as error:
        raise stepfunctions._ExecutionError(_ERRORS.get(service, "States.Permissions"), str(error)) from error


def _assume(machine: _Machine) -> authorization.Session:
    """Assume the machine's role; if the machine has its own key, the role must be able to use it."""
    # https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    session = authorization.assume(
        machine.role, service="states.amazonaws.com", source_arn=machine.arn, name=machine.name
    )
    encryption = (stepfunctions._state_machines.get(machine.arn) or {}).get("encryptionConfiguration") or {}
    key = authorization.key_arn(encryption.get("kmsKeyId") or "") if encryption.get("kmsKeyId") else None
    if key is not None:
        context = kms_context({"aws:states:stateMachineArn": machine.arn}, account=get_account_id())
        for operation in ("GenerateDataKey", "Decrypt"):
            authorization.require(session, f"kms:{operation}", key, context)
    return session


def _refuse_wire(method: str, path: str, headers: Mapping[str, str], body: Any, params: Any) -> Any:
    """Return the service's error for an `aws-sdk` call that the role may not make; `None` if allowed."""
    # claim: machine-needs-rights-for-each-task
    machine = _machine.get()
    if machine is None:
        return None
    service = headers["authorization"].split("/")[3]
    raw = body.encode() if isinstance(body, str) else (body or b"")
    # query-protocol requests have their parameters in the body
    params = app._routing_params(method, path, dict(headers), raw, params or {})
    action = iam_actions.extract_iam_action(service, method, path, headers, raw, params)
    if action is None:
        name = f"{service} {method} {path}"
        raise stepfunctions._ExecutionError("States.Runtime", f"no IAM action is known for the task's call {name}")
    region, account = get_region(), get_account_id()
    resource = iam_actions.extract_resource_arn(service, method, path, headers, raw, params, region, account)
    described = authorization.describe(service, path, headers, raw, params)
    requested = [(action, resource)]
    if service == "s3":
        # claim: a-task-that-copies-reads-its-source
        requested += iam_actions.s3_additional_checks(method, path, dict(headers), raw, params)
    try:
        session = _assume(machine)
        for each, on in requested:
            authorization.require_call(session, replace(described, action=each, resource=on))
    except authorization.AccessDeniedError as error:
        return iam_actions.access_denied_response(
            service, action, error.principal, "", headers=dict(headers), message=str(error), resource_arn=resource
        )
    return None
