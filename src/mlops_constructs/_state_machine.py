"""State machines: builders for states of Amazon States Language, and the machine with its role and log group."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._roles import allow, service_role
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs._validation import raise_if_any
from mlops_constructs._warnings import UNKNOWN_VALUE, warn
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.aws_api import Severity, check_machine

State = dict[str, Any]

NOW = "{% $now() %}"
NULL = "{% null %}"  # CDK drops a JSON null from the template, and the variable would be undefined
EXECUTION = "{% $states.context.Execution.Id %}"
# The cause of a failed task as one sentence. The cause of a job is its description and that of a function its stack trace, both as
# JSON: this extracts the exit message of a processing job, or else SageMaker's failure reason or the first line of a script's
# trace. A regular expression instead of a parser: an error in a Catch would end the execution without Unlock.
_SENTENCE = r"""
    $cause := $states.errorOutput.Cause & '';
    $told := $match($cause, /"(ExitMessage)" ?: ?"([^"].*?)" ?(,|\})/, 1);
    $sentence := $exists($told) ? $told : $match($cause, /"(FailureReason|[eE]rrorMessage)" ?: ?"(.*?)" ?(,|\})/, 1);
"""
CAUGHT = f"""{{% ({_SENTENCE}\
    $reason := $exists($sentence) ? $substringBefore($sentence[0].groups[1], '\\\\n') : $cause;
    $states.errorOutput.Error & ': ' & $substring($reason, 0, 600)
) %}}"""
# A stopped job has no such sentence; its status contains the reason.
_STOPPED = r"""
    $end := $match($cause, /"(SecondaryStatus|ProcessingJobStatus|TransformJobStatus)" ?: ?"(Max\w+Exceeded|Stopped)"/, 1);
    $limit := $match($cause, /"MaxRuntimeInSeconds" ?: ?([0-9]+)/, 1)[0].groups[0] & ' s';
    $stopped := 'the job was stopped' & (
        $end[0].groups[1] = 'MaxWaitTimeExceeded' ? ': it waited for spare capacity for longer than max_wait= allows'
        : $end[0].groups[1] = 'MaxRuntimeExceeded' ? ': it ran for longer than its limit of ' & $limit
            & '; find what hangs with mlops runs logs, or raise max_runtime='
        : ', or ran for longer than its limit of ' & $limit
    );
"""
_CAUGHT_OF_JOB = CAUGHT.replace(_SENTENCE, _SENTENCE + _STOPPED.lstrip("\n")).replace(
    ": $cause;", ": $exists($end) ? $stopped : $cause;"
)
# Six retries: with a third of all calls failing, three would still end every tenth rollout.
_RETRY_CALL: list[State] = [
    {
        "ErrorEquals": ["States.TaskFailed", "States.Timeout"],
        "IntervalSeconds": 2,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 30,
        "JitterStrategy": "FULL",
    }
]
# A failed job must not run again under its name: only a rejected start is retried.
_RETRY_JOB: list[State] = [
    {
        "ErrorEquals": ["SageMaker.AmazonSageMakerException"],
        "IntervalSeconds": 20,
        "BackoffRate": 2,
        "MaxAttempts": 6,
        "MaxDelaySeconds": 120,
        "JitterStrategy": "FULL",
    }
]
# https://docs.aws.amazon.com/glue/latest/webapi/API_StartJobRun.html#API_StartJobRun_Errors: what passes by itself
_RETRY_RUN: list[State] = [
    _RETRY_JOB[0]
    | {
        "ErrorEquals": [
            f"Glue.{error}Exception"
            for error in (
                "ConcurrentRunsExceeded",
                "InternalService",
                "OperationTimeout",
                "ResourceNumberLimitExceeded",
                "Throttling",
            )
        ]
    }
]


# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy: no resource type of their own
_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)
_TRACING = (
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
)
_KEY_USE = ("kms:Decrypt", "kms:GenerateDataKey")


def machine(*, comment: str, seconds: int, states: Mapping[str, State], partition: str) -> dict[str, Any]:
    """Return the definition of a machine.

    Args:
        comment: Purpose of the machine.
        seconds: Timeout of an execution.
        states: States, beginning with ``Start``, which is the first.
        partition: AWS partition of its tasks; may be a token.
    """
    definition = {
        "Comment": comment,
        "QueryLanguage": "JSONata",
        "TimeoutSeconds": seconds,
        "StartAt": "Start",
        "States": states,
    }
    for _, each in tasks(definition):
        each["Resource"] = each["Resource"].replace("arn:aws:", f"arn:{partition}:", 1)
    return definition


def task(
    integration: str,
    arguments: object,
    *,
    next_state: str,
    catch: str,
    assign: Mapping[str, object] | None = None,
    assign_caught: Mapping[str, object] | None = None,
    retry: Sequence[State] | None = None,
    timeout: int = 60,
) -> State:
    """Return a task that stores its result in variables and, on any error, the error in ``$caught``.

    Its ARN is of the partition ``aws``; ``machine`` replaces it.

    Args:
        integration: Service integration, such as ``lambda:invoke``.
        arguments: Arguments of the call, or one expression that returns them.
        next_state: Next state on success.
        catch: Next state on any error that persists after the retries.
        assign: Variables set on success. Default: none.
        assign_caught: Variables set on an error besides ``caught``. Default: none.
        retry: Retriers placed before the common one. Default: none.
        timeout: Timeout of one attempt, in seconds. Default: 60.
    """
    is_job = integration.endswith(".sync")
    common = _RETRY_RUN if integration.startswith("glue:") else _RETRY_JOB if is_job else _RETRY_CALL
    state: State = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{integration}",
        "Arguments": arguments,
        "TimeoutSeconds": timeout,
        "Retry": [*(retry or ()), *common],
        "Catch": [
            {
                "ErrorEquals": ["States.ALL"],
                "Assign": {"caught": _CAUGHT_OF_JOB if is_job else CAUGHT, **(assign_caught or {})},
                "Output": {},
                "Next": catch,
            }
        ],
        "Output": {},
        "Next": next_state,
    }
    if assign:
        state["Assign"] = dict(assign)
    return state


def invoke(
    function_arn: str,
    payload: Mapping[str, object],
    *,
    next_state: str,
    catch: str,
    assign: Mapping[str, object] | None = None,
    timeout: int = 90,
) -> State:
    """Return a task that invokes a function with ``payload``; ``assign`` reads ``$states.result.Payload``."""
    arguments = {"FunctionName": function_arn, "Payload": dict(payload)}
    return task(
        "lambda:invoke",
        arguments,
        next_state=next_state,
        catch=catch,
        assign=assign,
        timeout=timeout,
    )


def assign(next_state: str, **variables: object) -> State:
    """Return a state that only sets variables."""
    return {"Type": "Pass", "Assign": variables, "Output": {}, "Next": next_state}


def wait(seconds: int | str, next_state: str) -> State:
    """Return a state that waits; ``seconds`` may be an expression."""
    return {"Type": "Wait", "Seconds": seconds, "Output": {}, "Next": next_state}


def choose(*arms: tuple[str, str], default: str) -> State:
    """Return a choice; each arm is an expression without its braces and the next state."""
    choices = [{"Condition": f"{{% {condition} %}}", "Next": next_state} for condition, next_state in arms]
    return {"Type": "Choice", "Choices": choices, "Default": default}


def fail(error: str, cause: str) -> State:
    """Return a state that ends the execution, or an iteration, with an error."""
    return {"Type": "Fail", "Error": error, "Cause": cause}


def on_error(state: State, **variables: object) -> State:
    """Return a task that sets these variables on an error instead of ``$caught``; without variables the error is ignored."""
    catcher = state["Catch"][0] | {"Assign": variables}
    if not variables:
        del catcher["Assign"]
    return state | {"Catch": [catcher]}


def each(
    items: str,
    states: Mapping[str, State],
    *,
    next_state: str,
    catch: str,
    concurrency: int = 1,
) -> State:
    """Return a Map over the items, beginning with the first of its states.

    Variables of its states must not have the names of outer ones.

    Args:
        items: Expression of the items.
        states: States of an iteration.
        catch: Next state after an error of an iteration, which is in ``$caught``.
        concurrency: Number of iterations at once. Default: 1.
    """
    return {
        "Type": "Map",
        "Items": items,
        "MaxConcurrency": concurrency,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": next(iter(states)), "States": states},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"caught": CAUGHT}, "Output": {}, "Next": catch}],
        "Output": {},
        "Next": next_state,
    }


def put_event(*, bus_name: str, source: str, detail_type: str, detail: Mapping[str, object], next_state: str) -> State:
    """Return a task that puts an event of the unit on its bus; a failure to do so is ignored."""
    entry = {"EventBusName": bus_name, "Source": source, "DetailType": detail_type, "Detail": dict(detail)}
    return task("events:putEvents", {"Entries": [entry]}, next_state=next_state, catch=next_state)


def successors(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield every possible next state: on success, by choice, or on a caught error."""
    for holder in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        for key in ("Next", "Default"):
            if key in holder:
                yield holder[key]


def tasks(definition: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Yield the tasks of a machine with their names, including those in Map states."""
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            yield name, state
        if "ItemProcessor" in state:
            yield from tasks(state["ItemProcessor"])


def define_machine(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    definition: Mapping[str, object],
    statements: Sequence[iam.PolicyStatement],
    description: str,
    wildcard_reason: str,
    managed_policies: Sequence[iam.IManagedPolicy] = (),
    role_name: str | None = None,
) -> sfn.StateMachine:
    """Define a state machine.

    Args:
        scope: Parent.
        id: Construct id; the role is ``<id>Role``, the log group ``<id>Logs``.
        business_unit: The unit; provides key and permissions boundary.
        definition: Amazon States Language; values may be tokens.
        statements: Permissions of its states; those for logs, traces and the key are added.
        description: Purpose of the machine.
        wildcard_reason: Why resources with ``*`` are needed besides those of log delivery and traces.
        managed_policies: Further policies of the role, when one would be too long. Default: none.
        role_name: Name of the role, when policies of another account refer to it. Default: generated by CloudFormation.

    Raises:
        ValidationError: With every task whose arguments AWS would reject, and every null.
    """
    findings = check_machine(definition)
    problems = [str(f) for f in findings if f.severity is Severity.ERROR]
    # CDK drops nulls when it renders a template: a variable set to null would be undefined at run time
    problems += [f"{path} is null, which CDK drops; write {NULL!r}" for path in _nulls(definition, "definition")]
    raise_if_any(scope, "InvalidStateMachine", problems)
    for finding in findings:
        warn(scope, UNKNOWN_VALUE, finding=str(finding))
    log_group = define_log_group(scope, f"{id}Logs", business_unit=business_unit, vended_by="states")
    role = service_role(
        scope,
        f"{id}Role",
        service="states.amazonaws.com",
        statements=[
            allow([*_LOG_DELIVERY, *_TRACING], "*"),
            *_encryption(scope, business_unit.key.key_arn),
            *statements,
        ],
        business_unit=business_unit,
        description=description,
        managed_policies=managed_policies,
        wildcard_reason=f"log delivery and traces have no resource type; {wildcard_reason}",
        role_name=role_name,
    )
    with role.declared([*_LOG_DELIVERY, *_TRACING, *_KEY_USE]):
        return sfn.StateMachine(
            scope,
            id,
            role=role,
            comment=description,
            definition_body=sfn.DefinitionBody.from_string(stack_of(scope).to_json_string(definition)),
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            encryption_configuration=sfn.CustomerManagedEncryptionConfiguration(business_unit.key),
        )


def _encryption(scope: Construct, key_arn: str) -> list[iam.PolicyStatement]:
    """Return permissions to use the key for definitions, execution histories and logs of state machines only.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    """
    stack = stack_values(scope)
    colon = cdk.ArnFormat.COLON_RESOURCE_NAME
    # the machine's own name would be a circular dependency: its role is created first
    machines = stack.format_arn(service="states", resource="stateMachine", resource_name="*", arn_format=colon)
    logs = stack.format_arn(service="logs", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME)
    return [
        allow(
            _KEY_USE, key_arn, conditions={"StringLike": {"kms:EncryptionContext:aws:states:stateMachineArn": machines}}
        ),
        allow("kms:GenerateDataKey", key_arn, conditions={"StringLike": {"kms:EncryptionContext:SourceArn": logs}}),
    ]


def _nulls(value: object, path: str) -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _nulls(item, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")
