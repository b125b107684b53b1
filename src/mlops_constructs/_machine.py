"""The one state machine: checked against AWS's API at synth, logged without payloads, traced, encrypted with the unit's key."""

from collections.abc import Iterator, Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._iam import service_role
from mlops_constructs._log_group import define_log_group
from mlops_constructs._states import NULL
from mlops_constructs._validation import raise_if_any
from mlops_constructs._warnings import UNKNOWN_VALUE, warn
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.aws_api import Severity, check_machine

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
    )
    with role.declared([*_LOG_DELIVERY, *_TRACING, *_KEY_USE]):
        return sfn.StateMachine(
            scope,
            id,
            role=role,
            comment=description,
            definition_body=sfn.DefinitionBody.from_string(cdk.Stack.of(scope).to_json_string(definition)),
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
            encryption_configuration=sfn.CustomerManagedEncryptionConfiguration(business_unit.key),
        )


def _encryption(scope: Construct, key_arn: str) -> list[iam.PolicyStatement]:
    """Return the use of the key for definitions and histories of machines, and for their logs: nothing else that it encrypts.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    """
    stack = cdk.Stack.of(scope)
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
