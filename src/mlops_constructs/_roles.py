"""Roles and policies with least privilege, and what SageMaker's jobs need of theirs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, reduce

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from constructs import Construct, IConstruct, IValidation
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import raise_if_any
from mlops_constructs.compliance import acknowledge_all
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import event_source

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: white space does not count
MAXIMUM_POLICY_CHARACTERS = 6144
# Lambda assumes execution roles without aws:SourceAccount in the request's context, so a condition on it would lock it out
_WITHOUT_SOURCE_CONTEXT = frozenset({"lambda.amazonaws.com"})
# no page says whether these send their account: the condition holds where they do and does not lock them out where they do not
# (docs/adr/0020-conditions-that-services-meet.md)
_PERHAPS_SOURCE_CONTEXT = frozenset(
    {"apigateway.amazonaws.com", "glue.amazonaws.com", "logdelivery.elasticloadbalancing.amazonaws.com"}
)
# upper bounds of what an intrinsic becomes at deployment
_RENDERED_LENGTHS = {"AWS::Partition": 10, "AWS::Region": 14, "AWS::AccountId": 12, "AWS::URLSuffix": 20}
_RENDERED_ARN = 110
_RENDERED_NAME = 64

SERVICE = "sagemaker.amazonaws.com"
# SageMaker places containers in a VPC with the role of the job or model.
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createmodel-perms
_NETWORK = (
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)
_OF_GROUP = ("logs:CreateLogGroup", "logs:DescribeLogStreams")
_OF_STREAM = ("logs:CreateLogStream", "logs:PutLogEvents")
ROLE_REASON = (
    "network interfaces, the registry's token and metrics have no resource type, and SageMaker names jobs, log groups and streams "
    "itself, below fixed prefixes; rejected: AWS's managed policy AmazonSageMakerFullAccess"
)


class ServiceRole(iam.Role):
    """A role that keeps what others grant to it in a second customer managed policy, ``Granted``.

    CDK would put a grant into an inline policy, and ``without_policy_updates`` would drop it. Here
    ``bucket.grant_read(role)`` shows in the template, and its wildcards are findings until they are acknowledged.
    Define one with ``service_role``.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        assumed_by: iam.IPrincipal,
        business_unit: IBusinessUnit,
        permissions_boundary: iam.IManagedPolicy | None,
        managed_policies: Sequence[iam.IManagedPolicy],
        description: str,
        role_name: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            id,
            role_name=role_name,
            assumed_by=assumed_by,
            permissions_boundary=permissions_boundary,
            managed_policies=list(managed_policies),
            description=description,
        )
        self._business_unit = business_unit
        self._granted: iam.ManagedPolicy | None = None
        self._asked: set[str] | None = None

    def add_to_principal_policy(self, statement: iam.PolicyStatement) -> iam.AddToPrincipalPolicyResult:
        """Add a statement that a resource grants to the role.

        Args:
            statement: The statement.
        """
        if self._asked is not None:
            self._asked.update(statement.actions)
            return iam.AddToPrincipalPolicyResult(statement_added=True, policy_dependable=self)
        if self._granted is None:
            self._granted = iam.ManagedPolicy(
                self, "Granted", roles=[self], description="What others grant to this role"
            )
            _policy_checks(stack_of(self)).add(self._granted, self._granted.document, None)
        self._granted.add_statements(statement)
        self._business_unit.revoke_before_sweeps(self._granted, [statement.to_statement_json()])
        return iam.AddToPrincipalPolicyResult(statement_added=True, policy_dependable=self._granted)

    @contextmanager
    def declared(self, actions: Sequence[str]) -> Iterator["ServiceRole"]:
        """Define a CDK construct whose own statements for this role are declared already.

        CDK's constructs grant to their role what they think they need, often on ``*``. Inside this context such statements are
        left out, and at its end it is an error if one asked for an action that is not declared.

        Args:
            actions: Actions that the role's policies declare.

        Raises:
            ValidationError: If the construct asked for any other action.
        """
        self._asked = set()
        try:
            yield self
            missing = sorted(self._asked - set(actions))
        finally:
            self._asked = None
        raise_if_any(
            self,
            "UndeclaredAction",
            [
                f"the construct asks for {action!r}, which the role does not declare; add a statement"
                for action in missing
            ],
        )


def service_role(
    scope: Construct,
    id: str,
    *,
    service: str,
    statements: Sequence[iam.PolicyStatement],
    business_unit: IBusinessUnit,
    description: str,
    source_arn: str | None = None,
    managed_policies: Sequence[iam.IManagedPolicy] = (),
    wildcard_reason: str | None = None,
    has_session_tags: bool = False,
    role_name: str | None = None,
) -> ServiceRole:
    """Define a role for an AWS service.

    Args:
        scope: Parent.
        id: Construct id; the policy is ``<id>/Policy``.
        service: The service's principal, such as ``states.amazonaws.com``.
        statements: What it may do. Actions are named in full.
        business_unit: The unit; gives the permissions boundary.
        description: What the role is for.
        source_arn: ARN (``*`` allowed) of what the service acts for. Default: any resource of the account.
        managed_policies: Customer managed policies that roles share. Default: none.
        wildcard_reason: Why resources with ``*`` are needed and what was rejected; acknowledges exactly the wildcards of
            ``statements``. Default: a wildcard is a finding.
        has_session_tags: Whether the service may tag the sessions that it opens. Default: it may not.
        role_name: Its name, where another account's policies have it. Default: CloudFormation gives one.

    Returns:
        The role.

    Raises:
        ValidationError: If an action has a wildcard or there is no statement.
    """
    document = iam.PolicyDocument(statements=list(statements))
    # one call for all statements: reading the actions of each is what synthesis waits for
    declared = (document.to_json() or {}).get("Statement", [])
    problems: list[str | None] = [
        f"action must be named in full, got {action!r}"
        for statement in declared
        for action in as_list(statement.get("Action", []))
        if "*" in str(action)
    ]
    if not statements and not managed_policies:
        problems.append("statements must not be empty; a role without permissions needs none of this")
    raise_if_any(scope, "InvalidRole", problems)
    principal = iam.ServicePrincipal(service, conditions=source_conditions(scope, service, source_arn))
    role = ServiceRole(
        scope,
        id,
        assumed_by=principal.with_session_tags() if has_session_tags else principal,
        business_unit=business_unit,
        permissions_boundary=business_unit.permissions_boundary,
        managed_policies=managed_policies,
        description=description,
        role_name=role_name,
    )
    if statements:
        policy = iam.ManagedPolicy(role, "Policy", document=document, roles=[role], description=description)
        _policy_checks(stack_of(scope)).add(policy, document, wildcard_reason)
        business_unit.revoke_before_sweeps(policy, declared)
    return role


def idle_role(
    scope: Construct, id: str, *, service: str, business_unit: IBusinessUnit, description: str
) -> ServiceRole:
    """Define a role that a service may assume and that may do nothing: for what asks for a role and never runs.

    Args:
        scope: Parent.
        id: Construct id.
        service: The service's principal.
        business_unit: The unit; gives the permissions boundary.
        description: What asks for it.
    """
    return ServiceRole(
        scope,
        id,
        assumed_by=iam.ServicePrincipal(service, conditions=source_conditions(scope, service)),
        business_unit=business_unit,
        permissions_boundary=business_unit.permissions_boundary,
        managed_policies=(),
        description=description,
    )


def shared_policy(
    scope: Construct, id: str, *, statements: Sequence[iam.PolicyStatement], description: str, wildcard_reason: str
) -> iam.ManagedPolicy:
    """Define a customer managed policy whose wildcards are acknowledged exactly, for a boundary or for many roles.

    Args:
        scope: Parent.
        id: Construct id.
        statements: What it allows and denies.
        description: What it is for.
        wildcard_reason: Why its wildcards are needed and what was rejected.
    """
    document = iam.PolicyDocument(statements=list(statements))
    policy = iam.ManagedPolicy(scope, id, document=document, description=description)
    _policy_checks(stack_of(scope)).add(policy, document, wildcard_reason)
    return policy


def source_conditions(scope: IConstruct, service: str, source_arn: str | None = None) -> Mapping[str, object]:
    """Return the confused-deputy conditions for a service principal: the account, and the resource where it is known.

    See: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html

    Args:
        scope: Any construct of the stack.
        service: The service's principal.
        source_arn: ARN of what the service acts for; left out where the service may send none. Default: any of the account.
    """
    if service in _WITHOUT_SOURCE_CONTEXT:
        return {}
    if service in _PERHAPS_SOURCE_CONTEXT:
        return {"StringEqualsIfExists": {"aws:SourceAccount": stack_values(scope).account}}
    conditions: dict[str, object] = {"StringEquals": {"aws:SourceAccount": stack_values(scope).account}}
    if source_arn is not None:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return conditions


def key_statement(
    key: kms.IKey, *, services: Sequence[str], actions: Sequence[str] = ("kms:Decrypt", "kms:GenerateDataKey")
) -> iam.PolicyStatement:
    """Return the use of a key through the named services only.

    See: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service

    Args:
        key: The key.
        services: Short names such as ``s3``, ``sqs``, ``dynamodb``, ``lambda``.
        actions: What the services do in the role's name. Default: read and write.
    """
    stack = stack_values(key)
    home = f"{stack.region}.{stack.url_suffix}"
    hosts = [f"{service}.{home}" for service in sorted(services)]
    return iam.PolicyStatement(
        actions=sorted(actions),
        resources=[_key_arn(key)],
        conditions={"StringEquals": {"kms:ViaService": hosts if len(hosts) > 1 else hosts[0]}},
    )


_KEY_ARNS: dict[kms.IKey, str] = {}


def _key_arn(key: kms.IKey) -> str:
    found = _KEY_ARNS.get(key)
    if found is None:
        found = _KEY_ARNS[key] = key.key_arn
    return found


def grant_statements(grantee: iam.IGrantable, statements: Sequence[iam.PolicyStatement]) -> iam.Grant:
    """Grant what the statements say.

    Args:
        grantee: Who.
        statements: At least one.
    """
    return reduce(
        iam.Grant.combine,
        [
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=statement.actions,
                resource_arns=statement.resources,
                conditions=statement.conditions,
            )
            for statement in statements
        ],
    )


def log_statement(log_group: logs.ILogGroup) -> iam.PolicyStatement:
    """Return the right to write to one log group.

    Args:
        log_group: The log group.
    """
    return iam.PolicyStatement(
        actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn]
    )


def put_events_statement(business_unit: IBusinessUnit) -> iam.PolicyStatement:
    """Put the unit's own events on its bus: no request, whose source names its caller, and nothing in another unit's name.

    Args:
        business_unit: The unit.
    """
    return iam.PolicyStatement(
        actions=["events:PutEvents"],
        resources=[business_unit.bus.event_bus_arn],
        conditions={"StringEquals": {"events:source": event_source(business_unit.name)}},
    )


def pass_role_statement(role: iam.IRole, *, service: str) -> iam.PolicyStatement:
    """Return the right to pass one role to one service.

    Args:
        role: The role.
        service: The service's principal.
    """
    return iam.PolicyStatement(
        actions=["iam:PassRole"],
        resources=[role.role_arn],
        conditions={"StringEquals": {"iam:PassedToService": service}},
    )


@jsii.implements(IValidation)
class _PolicyChecks:
    """At the end of synthesis, when references are known: the size, and the acknowledgement of exactly the wildcards there are.

    One for all policies of a stack, so that node asks once and answers once.
    """

    def __init__(self, stack: cdk.Stack) -> None:
        self._stack = stack
        self._policies: list[tuple[iam.ManagedPolicy, iam.PolicyDocument, str | None]] = []

    def add(self, policy: iam.ManagedPolicy, document: iam.PolicyDocument, wildcard_reason: str | None) -> None:
        self._policies.append((policy, document, wildcard_reason))

    def validate(self) -> list[str]:
        resolved = self._stack.resolve({str(i): document for i, (_, document, _) in enumerate(self._policies)})
        problems: list[str] = []
        for i, (policy, _, wildcard_reason) in enumerate(self._policies):
            document = resolved[str(i)]
            size = rendered_length(document)
            if size > MAXIMUM_POLICY_CHARACTERS:
                problems.append(
                    f"the policy {policy.node.path} has about {size} characters, at most {MAXIMUM_POLICY_CHARACTERS} are "
                    "allowed; split the role"
                )
            elif wildcard_reason is not None:
                rules = [f"AwsSolutions-IAM5[{finding}]" for finding in wildcard_findings(document)]
                acknowledge_all(policy, rules, wildcard_reason)
        return problems


@cache
def _policy_checks(stack: cdk.Stack) -> _PolicyChecks:
    checks = _PolicyChecks(stack)
    stack.node.add_validation(checks)
    return checks


def wildcard_findings(document: Mapping[str, object]) -> list[str]:
    """Return what cdk-nag's IAM5 reports of a resolved policy document: ``Action::...`` and ``Resource::...``.

    Args:
        document: The resolved document.
    """
    found: dict[str, None] = {}
    for statement in as_list(document.get("Statement", [])):
        if not isinstance(statement, Mapping):
            raise TypeError(f"a statement of a policy is an object, got {statement!r}")
        if statement.get("Effect") != "Allow":
            continue
        found |= {f"Action::{a}": None for a in as_list(statement.get("Action")) if "*" in str(a)}
        resources = (_flatten(r) for r in as_list(statement.get("Resource")))
        found |= {f"Resource::{r}": None for r in resources if "*" in r}
    return list(found)


def rendered_length(document: object) -> int:
    """Return about how many characters a resolved document or text has at deployment, rather too many than too few.

    Args:
        document: The resolved document or text.
    """
    rendered = _with_lengths(document)
    return len(rendered if isinstance(rendered, str) else json.dumps(rendered, separators=(",", ":")))


def _with_lengths(value: object) -> object:
    if isinstance(value, Mapping):
        if len(value) == 1:
            key, inner = next(iter(value.items()))
            if key == "Ref":
                # a parameter of Parameter Store may hold an ARN
                name = _RENDERED_ARN if str(inner).startswith("SsmParameterValue") else _RENDERED_NAME
                return "x" * _RENDERED_LENGTHS.get(str(inner), name)
            if key == "Fn::Join":
                return "".join(str(_with_lengths(part)) for part in inner[1])
            if key == "Fn::Select" and "Fn::Split" in inner[1]:  # part of an ARN
                return "x" * _RENDERED_NAME
            if key.startswith("Fn::"):
                return "x" * _RENDERED_ARN
        return {key: _with_lengths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_lengths(item) for item in value]
    return value


def as_list(value: object) -> list[object]:
    """Return the elements of what a statement has as one or as several."""
    return list(value) if isinstance(value, list) else [value]


def _flatten(reference: object) -> str:
    """The text by which cdk-nag names a reference in its finding's id."""
    if isinstance(reference, str):
        return reference.replace("${", "<").replace("}", ">")
    if isinstance(reference, Mapping) and len(reference) == 1:
        key, inner = next(iter(reference.items()))
        if key == "Fn::Join":
            return str(inner[0]).join(_flatten(part) for part in inner[1])
        if key == "Fn::GetAtt":
            return f"<{_flatten(inner[0])}.{_flatten(inner[1])}>"
        if key == "Ref":
            return f"<{_flatten(inner)}>"
        if key in ("Fn::ImportValue", "Fn::Sub"):
            return _flatten(inner)
    return json.dumps(reference, separators=(",", ":"))


def sagemaker_arn(scope: Construct, resource: str, name: str) -> str:
    """Return the ARN of a SageMaker resource, such as ``endpoint`` ``demand-forecast``; a name may end with ``*``."""
    return stack_values(scope).format_arn(service="sagemaker", resource=resource, resource_name=name)


def alarm_arn(scope: Construct, name: str) -> str:
    """Return the ARN of a CloudWatch alarm; a name may end with ``*``."""
    return stack_values(scope).format_arn(
        service="cloudwatch", resource="alarm", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )


def rule_arn(scope: Construct, name: str) -> str:
    """Return the ARN of a rule of the default event bus."""
    return stack_values(scope).format_arn(service="events", resource="rule", resource_name=name)


def describe_alarms_statement() -> iam.PolicyStatement:
    """Return the right to read the state of alarms; composite ones are shown only to who may read all.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    return iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=["*"])


def container_statements(
    scope: Construct,
    *,
    log_group: str,
    namespace: str,
    streams: Sequence[str] = ("*",),
    is_networked: bool = True,
    more_logs: Sequence[str] = (),
) -> list[iam.PolicyStatement]:
    """Return what SageMaker does with the role of any container: network, logs, metrics.

    All jobs of an account write to one group a kind, so that a job's role is held to the streams of its own jobs. An endpoint has
    a group of its own.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html

    Args:
        scope: Any construct of the stack.
        log_group: Name of the log group that SageMaker makes; may end with ``*``.
        namespace: CloudWatch namespace of the container's metrics.
        streams: Names of the streams that it may write to, such as ``demand-forecast-*/*``. Default: any of the groups.
        is_networked: Whether containers are placed in a VPC, as all but serverless ones are. Default: they are.
        more_logs: Names of further log groups. Default: none.
    """
    groups = [
        stack_values(scope).format_arn(
            service="logs", resource="log-group", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
        for name in (log_group, *more_logs)
    ]
    return [
        *([iam.PolicyStatement(actions=list(_NETWORK), resources=["*"])] if is_networked else []),
        # AWS evaluates calls on the stream, whose name is empty where a call names none
        iam.PolicyStatement(
            actions=list(_OF_GROUP), resources=[arn for group in groups for arn in (group, f"{group}:log-stream:")]
        ),
        iam.PolicyStatement(
            actions=list(_OF_STREAM),
            resources=[f"{group}:log-stream:{stream}" for group in groups for stream in streams],
        ),
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": namespace}},
        ),
    ]


def placed(
    *, subnets: Sequence[str], security_groups: Sequence[str], is_isolated: bool | None = None
) -> dict[str, Mapping[str, object]]:
    """Return the conditions under which a model or job may be created: in these subnets, in isolation where that works.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html

    Args:
        subnets: Ids of the only subnets allowed.
        security_groups: Ids of the only security groups allowed.
        is_isolated: Whether network isolation must be on. Default: either is allowed.
    """
    conditions: dict[str, Mapping[str, object]] = {
        # without the Null test a request that leaves the network out would pass
        "ForAllValues:StringEquals": {
            "sagemaker:VpcSubnets": list(subnets),
            "sagemaker:VpcSecurityGroupIds": list(security_groups),
        },
        "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
    }
    if is_isolated is not None:
        conditions["Bool"] = {"sagemaker:NetworkIsolation": str(is_isolated).lower()}
    return conditions
