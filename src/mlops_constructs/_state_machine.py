"""State machines: their definition as data, their states, and the machine with its role and logs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._roles import service_role
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs._validation import raise_if_any
from mlops_constructs._warnings import UNKNOWN_VALUE, warn
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.aws_api import Severity, check_machine

State = dict[str, Any]

NOW = "{% $now() %}"
NULL = "{% null %}"  # a null of JSON would be lost on its way into the template, and the variable would not be there
EXECUTION = "{% $states.context.Execution.Id %}"
# AWS's reason of a failure. The cause of a job is its whole description and that of a function its trace, both as JSON: of these
# the one sentence that counts: what a processing job left as its exit message, which says more than SageMaker's own reason.
# Of a script's trace its first line is kept. It is matched, not parsed: an error in a Catch would end the execution without Unlock.
_SENTENCE = r"""
    $cause := $states.errorOutput.Cause & '';
    $told := $match($cause, /"(ExitMessage)" ?: ?"([^"].*?)" ?(,|\})/, 1);
    $sentence := $exists($told) ? $told : $match($cause, /"(FailureReason|[eE]rrorMessage)" ?: ?"(.*?)" ?(,|\})/, 1);
"""
CAUGHT = f"""{{% ({_SENTENCE}\
    $reason := $exists($sentence) ? $substringBefore($sentence[0].groups[1], '\\\\n') : $cause;
    $states.errorOutput.Error & ': ' & $substring($reason, 0, 600)
) %}}"""
# A job that was stopped has no such sentence, and its status says why.
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
# Six repetitions: where a third of all calls fails, three would still end every tenth rollout.
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
# A job that failed must not run again under its name: only a refused call to start it is repeated.
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


def resource(integration: str, partition: str) -> str:
    """Return the ARN of a service integration such as ``aws-sdk:sagemaker:updateEndpoint``."""
    return f"arn:{partition}:states:::{integration}"


def task(
    integration: str,
    arguments: object,
    *,
    partition: str,
    next_state: str,
    catch: str,
    assign: Mapping[str, object] | None = None,
    assign_caught: Mapping[str, object] | None = None,
    retry: Sequence[State] | None = None,
    timeout: int = 60,
) -> State:
    """Return a task that stores what it learns in variables and, on any error, the error in ``$caught``.

    Args:
        integration: Service integration, such as ``lambda:invoke``.
        arguments: The call's arguments, or one expression that gives them.
        partition: AWS partition, may be a token.
        next_state: Where to go on success.
        catch: Where to go on any error that outlives the retries.
        assign: Variables set on success. Default: none.
        assign_caught: Variables set on an error besides ``caught``. Default: none.
        retry: Retriers that stand before the common one. Default: none.
        timeout: Seconds that one attempt may take. Default: 60.
    """
    is_job = integration.endswith(".sync")
    common = _RETRY_RUN if integration.startswith("glue:") else _RETRY_JOB if is_job else _RETRY_CALL
    state: State = {
        "Type": "Task",
        "Resource": resource(integration, partition),
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
    partition: str,
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
        partition=partition,
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
    """Return a choice; each arm is an expression without its braces and the state it leads to."""
    choices = [{"Condition": f"{{% {condition} %}}", "Next": next_state} for condition, next_state in arms]
    return {"Type": "Choice", "Choices": choices, "Default": default}


def put_event(
    *, bus_name: str, source: str, detail_type: str, detail: Mapping[str, object], partition: str, next_state: str
) -> State:
    """Return a task that puts one of our events; a lost event never changes the outcome of what it tells about."""
    entry = {"EventBusName": bus_name, "Source": source, "DetailType": detail_type, "Detail": dict(detail)}
    return task("events:putEvents", {"Entries": [entry]}, partition=partition, next_state=next_state, catch=next_state)


def successors(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield every state that may follow: on success, by choice, or on a caught error."""
    for holder in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        for key in ("Next", "Default"):
            if key in holder:
                yield holder[key]


def tasks(definition: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Yield every task of a machine with its name, also inside Map states."""
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
        id: Construct id; its role is ``<id>Role``, its log group ``<id>Logs``.
        business_unit: The unit; gives key and boundary.
        definition: Amazon States Language; values may be tokens.
        statements: What its states may do; logs, traces and the key are added.
        description: What the machine does.
        wildcard_reason: Why resources with ``*`` are needed besides those of log delivery and traces.
        managed_policies: Further policies of its role, where one would be too long. Default: none.
        role_name: Name of its role, where policies of another account name it. Default: CloudFormation gives one.

    Raises:
        ValidationError: With every task whose arguments AWS would refuse, and every null.
    """
    findings = check_machine(definition)
    problems = [str(f) for f in findings if f.severity is Severity.ERROR]
    # CDK leaves nulls out of what it renders: a variable that is set to null would not exist at run time
    problems += [f"{path} is null, which CDK leaves out; write {NULL!r}" for path in _nulls(definition, "definition")]
    raise_if_any(scope, "InvalidStateMachine", problems)
    for finding in findings:
        warn(scope, UNKNOWN_VALUE, finding=str(finding))
    log_group = define_log_group(scope, f"{id}Logs", business_unit=business_unit, vended_by="states")
    role = service_role(
        scope,
        f"{id}Role",
        service="states.amazonaws.com",
        statements=[
            iam.PolicyStatement(actions=[*_LOG_DELIVERY, *_TRACING], resources=["*"]),
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
    """Return the use of the key for definitions and histories of machines, and for their logs: nothing else that it encrypts.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    """
    stack = stack_values(scope)
    colon = cdk.ArnFormat.COLON_RESOURCE_NAME
    # a machine's own name would be a circle: its role comes first
    machines = stack.format_arn(service="states", resource="stateMachine", resource_name="*", arn_format=colon)
    logs = stack.format_arn(service="logs", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME)
    return [
        iam.PolicyStatement(
            actions=list(_KEY_USE),
            resources=[key_arn],
            conditions={"StringLike": {"kms:EncryptionContext:aws:states:stateMachineArn": machines}},
        ),
        iam.PolicyStatement(
            actions=["kms:GenerateDataKey"],
            resources=[key_arn],
            conditions={"StringLike": {"kms:EncryptionContext:SourceArn": logs}},
        ),
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
