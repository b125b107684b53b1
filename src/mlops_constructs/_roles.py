"""IAM roles and policies with least privilege, and the permissions that SageMaker's containers need."""

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
from mlops_constructs.compliance.acknowledgement import acknowledge_all, as_list, wildcard_findings
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import event_source

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: IAM does not count white space
MAXIMUM_POLICY_CHARACTERS = 6144
# Lambda assumes execution roles without aws:SourceAccount in the request context: a condition on it would deny the request
_WITHOUT_SOURCE_CONTEXT = frozenset({"lambda.amazonaws.com"})
# AWS does not document whether these services send the account: the condition applies if they do and passes if they do not
# (docs/adr/0020-conditions-that-services-meet.md)
_PERHAPS_SOURCE_CONTEXT = frozenset(
    {"apigateway.amazonaws.com", "glue.amazonaws.com", "logdelivery.elasticloadbalancing.amazonaws.com"}
)
# upper bounds for the length of an intrinsic function's value at deployment
_RENDERED_LENGTHS = {"AWS::Partition": 10, "AWS::Region": 14, "AWS::AccountId": 12, "AWS::URLSuffix": 20}
_RENDERED_ARN = 110
_RENDERED_NAME = 64

# condition of writes that overwrite nothing: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
WRITES_ONCE = {"Null": {"s3:if-none-match": "false"}}

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
    """A role that collects grants of other constructs in a second customer managed policy, ``Granted``.

    CDK would put a grant into an inline policy, and ``without_policy_updates`` would drop it. With this role
    ``bucket.grant_read(role)`` shows in the template, and its wildcards are findings until they are acknowledged.
    Create instances with ``service_role``.
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
        self._requested_actions: set[str] | None = None

    def add_to_principal_policy(self, statement: iam.PolicyStatement) -> iam.AddToPrincipalPolicyResult:
        """Add a statement that another construct grants to the role."""
        if self._requested_actions is not None:
            self._requested_actions.update(statement.actions)
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
        """Define a CDK construct whose permissions the role's policies already contain.

        CDK's constructs grant their role broad permissions, often on ``*``. Inside this context such grants are dropped, and on
        exit it is an error if one of them contained an action that is not declared.

        Args:
            actions: Actions that the role's policies allow.

        Raises:
            ValidationError: If the construct granted any other action.
        """
        self._requested_actions = set()
        try:
            yield self
            missing = sorted(self._requested_actions - set(actions))
        finally:
            self._requested_actions = None
        raise_if_any(
            self,
            "UndeclaredAction",
            [
                f"the construct grants {action!r}, which the role does not declare; add a statement"
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
        service: Service principal, such as ``states.amazonaws.com``.
        statements: Permissions, with actions named in full.
        business_unit: The unit; provides the permissions boundary.
        description: Purpose of the role.
        source_arn: ARN (``*`` allowed) of the resource that the service acts for. Default: any resource of the account.
        managed_policies: Customer managed policies that roles share. Default: none.
        wildcard_reason: Why ``statements`` need resources with ``*`` and what was rejected; acknowledges exactly these
            wildcards. Default: a wildcard is a finding.
        has_session_tags: Whether the service may tag its sessions. Default: it may not.
        role_name: Name of the role, when policies of another account refer to it. Default: generated by CloudFormation.

    Raises:
        ValidationError: If an action has a wildcard or there is no statement.
    """
    document = iam.PolicyDocument(statements=list(statements))
    # one call for all statements: reading the actions of each statement separately would dominate the synthesis
    declared = (document.to_json() or {}).get("Statement", [])
    problems: list[str | None] = [
        f"action must be named in full, got {action!r}"
        for statement in declared
        for action in as_list(statement.get("Action", []))
        if "*" in str(action)
    ]
    if not statements and not managed_policies:
        problems.append("statements must not be empty; use idle_role for a role without permissions")
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
    """Define a role without permissions, for a service that requires a role but never uses it.

    Args:
        scope: Parent.
        id: Construct id.
        service: Service principal.
        business_unit: The unit; provides the permissions boundary.
        description: The resource that requires the role.
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
    """Define a customer managed policy with exactly its wildcards acknowledged, for a permissions boundary or for many roles.

    Args:
        scope: Parent.
        id: Construct id.
        statements: Allowed and denied actions.
        description: Purpose of the policy.
        wildcard_reason: Why its wildcards are needed and what was rejected.
    """
    document = iam.PolicyDocument(statements=list(statements))
    policy = iam.ManagedPolicy(scope, id, document=document, description=description)
    _policy_checks(stack_of(scope)).add(policy, document, wildcard_reason)
    return policy


def source_conditions(scope: IConstruct, service: str, source_arn: str | None = None) -> Mapping[str, object]:
    """Return the confused-deputy conditions for a service principal: the account, and the resource if it is known.

    See: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html

    Args:
        scope: Any construct of the stack.
        service: Service principal.
        source_arn: ARN of the resource that the service acts for; ignored for services that may not send one. Default: any resource
            of the account.
    """
    if service in _WITHOUT_SOURCE_CONTEXT:
        return {}
    if service in _PERHAPS_SOURCE_CONTEXT:
        return {"StringEqualsIfExists": {"aws:SourceAccount": stack_values(scope).account}}
    conditions: dict[str, object] = {"StringEquals": {"aws:SourceAccount": stack_values(scope).account}}
    if source_arn is not None:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return conditions


def allow(
    actions: str | Sequence[str], *resources: str, conditions: Mapping[str, object] | None = None
) -> iam.PolicyStatement:
    """Return a statement that allows an action, or several, on resources.

    Args:
        actions: Actions, named in full.
        resources: ARNs, or ``*`` for actions without a resource type.
        conditions: Conditions by operator. Default: none.
    """
    named = [actions] if isinstance(actions, str) else list(actions)
    return iam.PolicyStatement(actions=named, resources=list(resources), conditions=conditions)


def allow_listing(bucket_arn: str, prefixes: str | Sequence[str]) -> iam.PolicyStatement:
    """Return a statement that allows listing the keys of a bucket below prefixes."""
    return allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": prefixes}})


def allow_metrics(namespace: str) -> iam.PolicyStatement:
    """Return a statement that allows publishing metrics in one namespace."""
    return allow("cloudwatch:PutMetricData", "*", conditions={"StringEquals": {"cloudwatch:namespace": namespace}})


def key_statement(
    key: kms.IKey, *, services: Sequence[str], actions: Sequence[str] = ("kms:Decrypt", "kms:GenerateDataKey")
) -> iam.PolicyStatement:
    """Return a statement that allows the use of a key through the given services only.

    See: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service

    Args:
        services: Short names such as ``s3``, ``sqs``, ``dynamodb``, ``lambda``.
        actions: Actions of the services on behalf of the role. Default: read and write.
    """
    stack = stack_values(key)
    home = f"{stack.region}.{stack.url_suffix}"
    hosts = [f"{service}.{home}" for service in sorted(services)]
    return allow(
        sorted(actions),
        _key_arn(key),
        conditions={"StringEquals": {"kms:ViaService": hosts if len(hosts) > 1 else hosts[0]}},
    )


_KEY_ARNS: dict[kms.IKey, str] = {}


def _key_arn(key: kms.IKey) -> str:
    found = _KEY_ARNS.get(key)
    if found is None:
        found = _KEY_ARNS[key] = key.key_arn
    return found


def grant_statements(grantee: iam.IGrantable, statements: Sequence[iam.PolicyStatement]) -> iam.Grant:
    """Grant at least one statement to a principal."""
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
    """Return a statement that allows writing to one log group."""
    return allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)


def put_events_statement(business_unit: IBusinessUnit) -> iam.PolicyStatement:
    """Allow events of this unit on its bus: not another unit's, and no requests, whose source is the caller."""
    return allow(
        "events:PutEvents",
        business_unit.bus.event_bus_arn,
        conditions={"StringEquals": {"events:source": event_source(business_unit.name)}},
    )


def pass_role_statement(role: iam.IRole, *, service: str) -> iam.PolicyStatement:
    """Return a statement that allows passing one role to one service principal."""
    return allow("iam:PassRole", role.role_arn, conditions={"StringEquals": {"iam:PassedToService": service}})


@jsii.implements(IValidation)
class _PolicyChecks:
    """At the end of synthesis, when references are resolved, check the size of policies and acknowledge exactly their wildcards.

    There is one check per stack, so that Node.js resolves all policies in one call.
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
                acknowledge_all(policy, wildcard_findings(document), wildcard_reason)
        return problems


@cache
def _policy_checks(stack: cdk.Stack) -> _PolicyChecks:
    checks = _PolicyChecks(stack)
    stack.node.add_validation(checks)
    return checks


def rendered_length(document: object) -> int:
    """Return an upper estimate of the number of characters of a resolved document or string at deployment."""
    rendered = _with_lengths(document)
    return len(rendered if isinstance(rendered, str) else json.dumps(rendered, separators=(",", ":")))


def _with_lengths(value: object) -> object:
    if isinstance(value, Mapping):
        if len(value) == 1:
            key, inner = next(iter(value.items()))
            if key == "Ref":
                # the value of an SSM parameter may be an ARN
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
    """Return a statement that allows reading the state of alarms; composite alarms require it for all resources.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    return allow("cloudwatch:DescribeAlarms", "*")


def container_statements(
    scope: Construct,
    *,
    log_group: str,
    namespace: str,
    streams: Sequence[str] = ("*",),
    is_networked: bool = True,
    more_logs: Sequence[str] = (),
) -> list[iam.PolicyStatement]:
    """Return the permissions that SageMaker needs in the role of any container: network, logs, metrics.

    All jobs of a kind in an account share one log group, so a job's role is limited to the log streams of its own jobs. An endpoint
    has a log group of its own.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html

    Args:
        scope: Any construct of the stack.
        log_group: Name of the log group that SageMaker creates; may end with ``*``.
        namespace: CloudWatch namespace of the container's metrics.
        streams: Names of the allowed log streams, such as ``demand-forecast-*/*``. Default: all streams of the groups.
        is_networked: Whether the container runs in a VPC, as all but serverless ones do. Default: it does.
        more_logs: Names of further log groups. Default: none.
    """
    groups = [
        stack_values(scope).format_arn(
            service="logs", resource="log-group", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
        for name in (log_group, *more_logs)
    ]
    return [
        *([allow(_NETWORK, "*")] if is_networked else []),
        # IAM evaluates the stream's ARN, whose stream name is empty when a request names no stream
        allow(_OF_GROUP, *(arn for group in groups for arn in (group, f"{group}:log-stream:"))),
        allow(_OF_STREAM, *(f"{group}:log-stream:{stream}" for group in groups for stream in streams)),
        allow_metrics(namespace),
    ]


def placed(
    *, subnets: Sequence[str], security_groups: Sequence[str], is_isolated: bool | None = None
) -> dict[str, Mapping[str, object]]:
    """Return the conditions for creating a model or job: only in these subnets, and with network isolation if required.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html

    Args:
        subnets: Ids of the only subnets allowed.
        security_groups: Ids of the only security groups allowed.
        is_isolated: Whether network isolation must be on or off. Default: either is allowed.
    """
    conditions: dict[str, Mapping[str, object]] = {
        # without the Null test a request without a VPC configuration would pass
        "ForAllValues:StringEquals": {
            "sagemaker:VpcSubnets": list(subnets),
            "sagemaker:VpcSecurityGroupIds": list(security_groups),
        },
        "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
    }
    if is_isolated is not None:
        conditions["Bool"] = {"sagemaker:NetworkIsolation": str(is_isolated).lower()}
    return conditions
