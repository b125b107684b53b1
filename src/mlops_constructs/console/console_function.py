"""The function behind the console's API, which may only assume the roles of people."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._assets import RUNTIME, lambda_code, layer
from mlops_constructs._functions import ARCHITECTURE, NETWORK_ACTIONS, TRACING_ACTIONS, UNRESERVED
from mlops_constructs._roles import ServiceRole, allow, key_statement, log_statement, shared_policy
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.console.route import Role

TAKE = ("sts:AssumeRole", "sts:SetSourceIdentity")
# API Gateway's timeout
_LONGEST = cdk.Duration.seconds(29)
# the monitor's libraries are loaded before the first response; CPU, and so the duration, depends on memory
_MEMORY = 1024
_LOGS = "the streams of its own log group are named by Lambda at run time; rejected: a managed policy for all groups"
_SYNCHRONOUS = (
    "only API Gateway invokes it, synchronously, so no event is ever queued or lost; rejected: a dead-letter queue that "
    "would stay empty"
)


def role_name(scope: Construct, business_unit: IBusinessUnit) -> str:
    """Return the name of the function's role, which trust policies of roles in other stacks and accounts contain."""
    return f"{business_unit.name}-console-{stack_values(scope).region}"


def define_console_function(
    scope: Construct, *, business_unit: IBusinessUnit, roles: Mapping[Role, iam.IRole]
) -> lambda_.Function:
    """Define the function.

    Its role has no permissions boundary: the unit's boundary allows no action of STS (docs/adr/0009-approval.md).
    """
    log_group = define_log_group(scope, "FunctionLogs", business_unit=business_unit)
    description = f"The console of {business_unit.name}: takes the roles that people have"
    policy = shared_policy(
        scope,
        "FunctionPolicy",
        description=description,
        wildcard_reason=_LOGS,
        statements=[
            allow(TAKE, *(role.role_arn for role in roles.values())),
            log_statement(log_group),
            # its environment is encrypted with the unit's key
            key_statement(business_unit.key, services=["lambda"], actions=["kms:Decrypt"]),
        ],
    )
    role = ServiceRole(
        scope,
        "FunctionRole",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        business_unit=business_unit,
        permissions_boundary=None,
        managed_policies=[business_unit.function_policy, policy],
        description=description,
        role_name=role_name(scope, business_unit),
    )
    business_unit.reach(["ssm", "sts"])
    with role.declared([*NETWORK_ACTIONS, *TRACING_ACTIONS]):
        function = lambda_.Function(
            scope,
            "Function",
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler="handler.handler",
            code=lambda_code("console"),
            description=description,
            environment={f"{kind.name}_ROLE": taken.role_arn for kind, taken in roles.items()},
            environment_encryption=business_unit.key,
            role=role,
            timeout=_LONGEST,
            memory_size=_MEMORY,
            layers=[layer(scope, "Layer", name="monitor", architecture=ARCHITECTURE)],
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            vpc=business_unit.vpc,
            vpc_subnets=business_unit.subnets,
            security_groups=[business_unit.security_group],
        )
    acknowledge_family(function, "LambdaConcurrency", UNRESERVED)
    acknowledge_family(function, "LambdaDLQ", _SYNCHRONOUS)
    return function


def admit(role: iam.Role, *, function_role: str) -> None:
    """Let the console's function assume a role on behalf of people; the trust policy allows the function's role only.

    Both actions are needed in the role's trust policy and in the policy of the function's role:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html

    Args:
        role: A role of people.
        function_role: ARN of the function's role, built from its name: a reference would make the two stacks depend on each other.
    """
    document = role.assume_role_policy
    assert document is not None  # noqa: S101 - of roles that are defined
    document.add_statements(
        iam.PolicyStatement(
            sid="Console",
            actions=list(TAKE),
            principals=[iam.AccountRootPrincipal()],
            conditions={"ArnEquals": {"aws:PrincipalArn": function_role}},
        )
    )
