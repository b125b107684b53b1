"""The one Lambda function: the unit's network, key and dead letters, tracing, a log group of its own, an exact role."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._assets import RUNTIME, lambda_code
from mlops_constructs._iam import key_statement, log_statement, service_role
from mlops_constructs._log_group import define_log_group
from mlops_constructs._validation import check_duration, check_range, raise_if_any
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit

ARCHITECTURE = lambda_.Architecture.X86_64
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
TRACING_ACTIONS = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")
# for the start of the function's container, and the way of question and answer
_ANSWER_MARGIN = cdk.Duration.minutes(1)
_CONCURRENCY = (
    "a new account has 10 concurrent executions, all of which must stay unreserved; "
    "set reserved_concurrency where the account's quota allows it"
)


def define_function(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    folder: str,
    description: str,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    timeout: cdk.Duration,
    memory_size: int = 256,
    layers: Sequence[lambda_.ILayerVersion] = (),
    files: Mapping[str, str] | None = None,
    reserved_concurrency: int | None = None,
    wildcard_reason: str | None = None,
) -> lambda_.Function:
    """Define a function.

    Args:
        scope: Parent.
        id: Construct id; its role is ``<id>Role``, its log group ``<id>Logs``.
        business_unit: The unit; gives network, key, dead-letter queue and boundary.
        folder: Folder of ``lambdas/`` whose ``handler.handler`` is called.
        description: What the function does.
        environment: Environment variables, encrypted with the unit's key.
        statements: What the code may do; logs, tracing, network, key and dead letters are added.
        timeout: Longest run, at most 15 minutes.
        memory_size: MiB. Default: 256.
        layers: Layers with compiled wheels. Default: none.
        files: Texts by name that stand beside the handler. Default: none.
        reserved_concurrency: Concurrent executions kept for it. Default: none are kept, which is acknowledged.
        wildcard_reason: Why resources with ``*`` are needed in ``statements``. Default: a wildcard is a finding.

    Raises:
        ValidationError: If timeout or memory are outside Lambda's limits.
    """
    raise_if_any(
        scope,
        "InvalidFunction",
        [
            check_duration("timeout", timeout, minimum=cdk.Duration.seconds(1), maximum=cdk.Duration.minutes(15)),
            check_range("memory_size", memory_size, minimum=128, maximum=10240),
        ],
    )
    log_group = define_log_group(scope, f"{id}Logs", business_unit=business_unit)
    own_statements = [
        log_statement(log_group),
        iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[business_unit.dead_letter_queue.queue_arn]),
        # the queue of dead letters and the environment are encrypted with the unit's key
        key_statement(business_unit.key, services=["lambda", "sqs"]),
    ]
    role = service_role(
        scope,
        f"{id}Role",
        service="lambda.amazonaws.com",
        statements=[*own_statements, *statements],
        business_unit=business_unit,
        description=description,
        managed_policies=[business_unit.function_policy],
        wildcard_reason=wildcard_reason,
    )
    with role.declared(["sqs:SendMessage", *NETWORK_ACTIONS, *TRACING_ACTIONS]):
        function = lambda_.Function(
            scope,
            id,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler="handler.handler",
            code=lambda_code(folder, files=files),
            description=description,
            environment=dict(environment),
            environment_encryption=business_unit.key,
            role=role,
            timeout=timeout,
            memory_size=memory_size,
            layers=list(layers),
            reserved_concurrent_executions=reserved_concurrency,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=business_unit.dead_letter_queue,
            vpc=business_unit.vpc,
            vpc_subnets=business_unit.subnets,
            security_groups=[business_unit.security_group],
        )
    if reserved_concurrency is None:
        acknowledge_family(function, "LambdaConcurrency", _CONCURRENCY)
    return function


def define_custom_resource(
    scope: Construct, id: str, *, function: lambda_.Function, resource_type: str, properties: Mapping[str, str]
) -> cdk.CustomResource:
    """Define a custom resource that a function answers for.

    CloudFormation waits for its answer a minute longer than the function may run, where it would wait an hour by default.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html

    Args:
        scope: Parent.
        id: Construct id.
        function: The function, made by ``define_function``.
        resource_type: Type such as ``Custom::BucketSweep``.
        properties: What the function is given.
    """
    if function.timeout is None:
        raise TypeError("the function of a custom resource must have a timeout, got none")
    return cdk.CustomResource(
        scope,
        id,
        service_token=function.function_arn,
        resource_type=resource_type,
        properties=dict(properties),
        service_timeout=function.timeout.plus(_ANSWER_MARGIN),
    )
