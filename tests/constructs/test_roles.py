"""IAM roles, and statements for SageMaker."""

import json
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template
from botocore.exceptions import ClientError

from mlops_constructs import BusinessUnit, ValidationError
from mlops_constructs._roles import (
    MAXIMUM_POLICY_CHARACTERS,
    SERVICE,
    ServiceRole,
    alarm_arn,
    allow,
    allow_listing,
    allow_metrics,
    container_statements,
    describe_alarms_statement,
    key_statement,
    pass_role_statement,
    placed,
    rendered_length,
    sagemaker_arn,
    service_role,
    source_conditions,
)
from mlops_local.cloud import Cloud

READ = iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::models/m.tar.gz"])
ROLE_ARN = "arn:aws:iam::111111111111:role/job"


IMAGE = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"


@pytest.fixture
def unit() -> BusinessUnit:
    """A unit in a stack of its own."""
    return BusinessUnit(cdk.Stack(cdk.App(), "Demand"), "Unit", name="demand")


def _role(unit: BusinessUnit, *statements: iam.PolicyStatement, wildcard_reason: str | None = None) -> ServiceRole:
    return service_role(
        cdk.Stack.of(unit),
        "Role",
        service="sagemaker.amazonaws.com",
        statements=statements,
        business_unit=unit,
        description="test",
        wildcard_reason=wildcard_reason,
    )


def test_statements_name_actions_resources_and_conditions() -> None:
    """One action or several; prefixes are rendered as they are given."""
    found = [
        allow("s3:GetObject", "arn:a", "arn:b"),
        allow(("s3:GetObject", "s3:PutObject"), "*", conditions={"Bool": {"aws:SecureTransport": "true"}}),
        allow_listing("arn:a", "models/*"),
        allow_listing("arn:a", ["models/*", "gates/*"]),
        allow_metrics("demand"),
    ]

    assert [statement.to_statement_json() for statement in found] == [
        {"Action": "s3:GetObject", "Effect": "Allow", "Resource": ["arn:a", "arn:b"]},
        {
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
            "Effect": "Allow",
            "Resource": "*",
        },
        {
            "Action": "s3:ListBucket",
            "Condition": {"StringLike": {"s3:prefix": "models/*"}},
            "Effect": "Allow",
            "Resource": "arn:a",
        },
        {
            "Action": "s3:ListBucket",
            "Condition": {"StringLike": {"s3:prefix": ["models/*", "gates/*"]}},
            "Effect": "Allow",
            "Resource": "arn:a",
        },
        {
            "Action": "cloudwatch:PutMetricData",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "demand"}},
            "Effect": "Allow",
            "Resource": "*",
        },
    ]


def _acknowledged(scope: cdk.Stack) -> dict[str, list[str]]:
    return {
        construct.node.path: [
            rule
            for entry in construct.node.metadata
            if entry.type == "aws:cdk:acknowledged-rules"
            for rule in entry.data
        ]
        for construct in scope.node.find_all()
        if construct.node.path.startswith("Demand/Role")
    }


def test_role_has_boundary_managed_policy_and_source_account(unit: BusinessUnit) -> None:
    """No inline policy, no AWS managed policy, no confused deputy."""
    _role(unit, READ)

    template = Template.from_stack(cdk.Stack.of(unit))
    template.has_resource_properties(
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": {
                "Statement": [
                    Match.object_like(
                        {
                            "Principal": {"Service": "sagemaker.amazonaws.com"},
                            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
                        }
                    )
                ]
            },
            "PermissionsBoundary": {"Ref": Match.string_like_regexp("UnitBoundary.*")},
            "ManagedPolicyArns": Match.absent(),
            "Policies": Match.absent(),
        },
    )
    template.resource_count_is("AWS::IAM::Policy", 0)


def test_a_known_source_is_a_condition(unit: BusinessUnit) -> None:
    """The trust names the resource if it is known."""
    conditions = source_conditions(unit, "states.amazonaws.com", "arn:aws:states:*:*:stateMachine:x")

    assert conditions["ArnLike"] == {"aws:SourceArn": "arn:aws:states:*:*:stateMachine:x"}


def test_lambda_has_no_source_condition(unit: BusinessUnit) -> None:
    """Lambda sends no source account, so a condition would lock it out."""
    assert source_conditions(unit, "lambda.amazonaws.com") == {}


@pytest.mark.parametrize("service", ["glue.amazonaws.com", "logdelivery.elasticloadbalancing.amazonaws.com"])
def test_a_service_that_may_send_nothing_is_held_where_it_does(unit: BusinessUnit, service: str) -> None:
    """The condition matches an absent key and this account only."""
    found = source_conditions(unit, service, "arn:aws:glue:*:*:job/x")

    (condition,) = found.values()
    assert list(found) == ["StringEqualsIfExists"]
    assert list(condition) == ["aws:SourceAccount"]


def test_fails_on_a_wildcard_action(unit: BusinessUnit) -> None:
    """Actions must be named in full."""
    with pytest.raises(ValidationError, match=r"InvalidRole: action must be named in full, got 's3:\*'"):
        _role(unit, iam.PolicyStatement(actions=["s3:*"], resources=["*"]))


def test_fails_without_statements(unit: BusinessUnit) -> None:
    """Rejects a role without permissions."""
    with pytest.raises(ValidationError, match="statements must not be empty"):
        _role(unit)


def test_a_platform_teams_grants_appear_in_the_template(unit: BusinessUnit) -> None:
    """Grants by others on their bucket and key appear in a managed policy."""
    stack = cdk.Stack.of(unit)
    role = _role(unit, READ)

    granted = s3.Bucket.from_bucket_name(stack, "Lake", "platform-lake").grant_put(role)
    kms.Key.from_key_arn(stack, "LakeKey", "arn:aws:kms:us-east-1:111111111111:key/lake").grant_decrypt(role)

    assert granted.success
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::IAM::ManagedPolicy",
        {
            "Description": "What others grant to this role",
            "PolicyDocument": {
                "Statement": [
                    Match.object_like({"Action": Match.array_with(["s3:PutObject"])}),
                    Match.object_like(
                        {"Action": "kms:Decrypt", "Resource": "arn:aws:kms:us-east-1:111111111111:key/lake"}
                    ),
                ]
            },
            "Roles": [{"Ref": Match.string_like_regexp("^Role.*")}],
        },
    )
    template.resource_count_is("AWS::IAM::Policy", 0)


def test_wildcards_with_a_reason_are_acknowledged_exactly(unit: BusinessUnit) -> None:
    """Finding ids are computed from the policy, including references."""
    statements = iam.PolicyStatement(actions=["s3:GetObject"], resources=[unit.artifacts.arn_for_objects("models/*")])
    _role(
        unit,
        statements,
        READ,
        wildcard_reason="models are named by the job that wrote them; rejected: one role a model",
    )
    stack = cdk.Stack.of(unit)

    artifacts = stack.get_logical_id(unit.artifacts.node.default_child)
    Template.from_stack(stack)

    assert _acknowledged(stack)["Demand/Role/Policy"] == [
        f"AwsSolutions::AwsSolutions-IAM5[Resource::<{artifacts}.Arn>/models/*]"
    ]


def test_wildcards_without_a_reason_stay_findings(unit: BusinessUnit) -> None:
    """Nothing is acknowledged implicitly."""
    _role(unit, iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::models/*"]))
    stack = cdk.Stack.of(unit)
    Template.from_stack(stack)

    assert not any(_acknowledged(stack).values())


def test_fails_at_synth_when_the_policy_is_too_long(unit: BusinessUnit) -> None:
    """IAM would reject it at deployment."""
    _role(
        unit,
        *(iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"arn:aws:s3:::{n:0>120}/x"]) for n in range(60)),
    )

    with pytest.raises(
        RuntimeError, match=rf"characters, at most {MAXIMUM_POLICY_CHARACTERS} are allowed; split the role"
    ):
        Template.from_stack(cdk.Stack.of(unit))


def test_a_constructs_own_statements_are_left_out_where_declared(unit: BusinessUnit) -> None:
    """CDK's statements on ``*`` are omitted, as the declaration has them."""
    role = _role(unit, READ)

    with role.declared(["s3:GetObject"]):
        role.add_to_principal_policy(READ)

    Template.from_stack(cdk.Stack.of(unit)).resource_properties_count_is(
        "AWS::IAM::ManagedPolicy", {"Description": "What others grant to this role"}, 0
    )


def test_fails_when_a_construct_asks_for_more_than_declared(unit: BusinessUnit) -> None:
    """New permissions requested by CDK's construct are an error instead of being dropped."""
    role = _role(unit, READ)

    with (
        pytest.raises(ValidationError, match="UndeclaredAction: the construct grants 'sqs:SendMessage'"),
        role.declared(["s3:GetObject"]),
    ):
        role.add_to_principal_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=["*"]))


def test_grants_after_the_declaration_appear(unit: BusinessUnit) -> None:
    """Only the construct's own statements are omitted."""
    stack = cdk.Stack.of(unit)
    role = _role(unit, READ)
    with role.declared(["s3:GetObject"]):
        pass

    s3.Bucket.from_bucket_name(stack, "Lake", "platform-lake").grant_read(role)

    Template.from_stack(stack).resource_properties_count_is(
        "AWS::IAM::ManagedPolicy", {"Description": "What others grant to this role"}, 1
    )


def test_key_statement_names_the_services(unit: BusinessUnit) -> None:
    """The key may be used through services only, in sorted order."""
    stack = cdk.Stack.of(unit)

    statement = stack.resolve(key_statement(unit.key, services=["sqs", "s3"]).to_statement_json())

    hosts = [
        {"Fn::Join": ["", [f"{s}.", {"Ref": "AWS::Region"}, ".", {"Ref": "AWS::URLSuffix"}]]} for s in ("s3", "sqs")
    ]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": hosts}}
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_pass_role_names_the_service(unit: BusinessUnit) -> None:
    """A role may be passed to one service."""
    role = iam.Role.from_role_arn(cdk.Stack.of(unit), "Job", ROLE_ARN)

    statement = pass_role_statement(role, service="sagemaker.amazonaws.com").to_statement_json()

    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert statement["Resource"] == ROLE_ARN


def test_length_counts_references_as_what_they_become() -> None:
    """An intrinsic counts as the longest ARN, not as its JSON."""
    assert rendered_length({"Resource": {"Ref": "AWS::AccountId"}}) == len('{"Resource":"123456789012"}')
    assert (
        rendered_length({"Resource": {"Fn::GetAtt": ["A", "Arn"]}})
        > len('{"Resource":"arn:aws:kms:eu-central-1:123456789012:key/"}') + 36
    )


@pytest.fixture
def stack() -> cdk.Stack:
    """A stack in a known account and Region."""
    return cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="123456789012", region="eu-west-1"))


def _statements(stack: cdk.Stack, *statements: iam.PolicyStatement) -> list[dict[str, Any]]:
    resolved: list[dict[str, Any]] = stack.resolve([statement.to_statement_json() for statement in statements])
    return json.loads(json.dumps(resolved).replace('{"Ref": "AWS::Partition"}', '"aws"'))  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    return "".join(value["Fn::Join"][1]) if isinstance(value, dict) else str(value)


def test_arns_are_those_of_the_service_authorization_reference(stack: cdk.Stack) -> None:
    """SageMaker separates by a slash, CloudWatch by a colon; partition, Region and account are the stack's.

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    and https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    """
    reference = iam.PolicyStatement(
        actions=["a:b"], resources=[sagemaker_arn(stack, "endpoint", "demand-*"), alarm_arn(stack, "demand-*")]
    )

    (statement,) = _statements(stack, reference)

    assert [_text(arn) for arn in statement["Resource"]] == [
        "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/demand-*",
        "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:demand-*",
    ]


def test_alarms_are_read_in_whole(stack: cdk.Stack) -> None:
    """Composite alarms require permission to read all; only reading is allowed."""
    (statement,) = _statements(stack, describe_alarms_statement())

    assert statement == {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}


def test_a_container_writes_its_logs_and_metrics_and_nothing_else(stack: cdk.Stack) -> None:
    """Logs in its own group, metrics in its own namespace, network interfaces."""
    network, groups, logs, metrics = _statements(
        stack, *container_statements(stack, log_group="/aws/sagemaker/Endpoints/d*", namespace="MLOps/demand")
    )

    group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/d*"
    assert [_text(arn) for arn in groups["Resource"]] == [group, f"{group}:log-stream:"]
    assert groups["Action"] == ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    assert (_text(logs["Resource"]), logs["Action"]) == (
        f"{group}:log-stream:*",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
    )
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "MLOps/demand"}}
    assert metrics["Action"] == "cloudwatch:PutMetricData"
    assert network["Resource"] == "*"
    assert {action.partition(":")[0] for action in network["Action"]} == {"ec2"}


def test_a_job_writes_to_its_own_streams_of_the_group_of_all(stack: cdk.Stack) -> None:
    """It neither creates other streams nor writes to them."""
    group = "/aws/sagemaker/TrainingJobs"
    statements = _statements(
        stack, *container_statements(stack, log_group=group, namespace=group, streams=["demand-x-*-train/*"])
    )

    written = [s["Resource"] for s in statements if "logs:PutLogEvents" in s["Action"]]
    assert [_text(arn) for arn in written] == [
        f"arn:aws:logs:eu-west-1:123456789012:log-group:{group}:log-stream:demand-x-*-train/*"
    ]


@pytest.mark.parametrize(("is_isolated", "condition"), [(True, "true"), (False, "false")])
def test_isolation_is_a_condition_where_it_is_asked_for(is_isolated: bool, condition: str) -> None:
    """By default both are allowed."""
    network: dict[str, Any] = {"subnets": ["subnet-a"], "security_groups": ["sg-a"]}

    assert placed(**network, is_isolated=is_isolated)["Bool"] == {"sagemaker:NetworkIsolation": condition}
    assert "Bool" not in placed(**network)


@pytest.mark.cloud
@pytest.mark.parametrize(
    ("request_network", "is_allowed"),
    [
        ({"Subnets": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["sg-a"]}, True),
        ({"Subnets": ["subnet-a"], "SecurityGroupIds": ["sg-a"]}, True),
        ({"Subnets": ["subnet-a", "subnet-x"], "SecurityGroupIds": ["sg-a"]}, False),
        ({"Subnets": ["subnet-a"], "SecurityGroupIds": ["sg-x"]}, False),
        (None, False),
    ],
    ids=["both", "one", "another-subnet", "another-group", "no-network"],
)
def test_models_are_made_in_their_network_only(
    request_network: dict[str, list[str]] | None, is_allowed: bool, cloud: Cloud, request: pytest.FixtureRequest
) -> None:
    """IAM denies creation in another network, or outside any."""
    name = request.node.callspec.id
    conditions = placed(subnets=["subnet-a", "subnet-b"], security_groups=["sg-a"], is_isolated=True)
    sagemaker, role = _acting(cloud, f"placed-{name}", conditions)
    arguments: dict[str, Any] = {
        "ModelName": f"placed-{name}",
        "ExecutionRoleArn": role,
        "PrimaryContainer": {"Image": IMAGE},
        "EnableNetworkIsolation": True,
        **({} if request_network is None else {"VpcConfig": request_network}),
    }

    if is_allowed:
        assert sagemaker.create_model(**arguments)["ModelArn"].endswith(f"model/placed-{name}")
        with pytest.raises(ClientError, match="not authorized to perform: sagemaker:CreateModel"):
            sagemaker.create_model(**{**arguments, "ModelName": "open", "EnableNetworkIsolation": False})
    else:
        with pytest.raises(ClientError, match="not authorized to perform: sagemaker:CreateModel"):
            sagemaker.create_model(**arguments)


def _acting(cloud: Cloud, name: str, conditions: Any) -> tuple[Any, str]:
    """Return SageMaker's client of a role that may create models under conditions, and that role."""
    client = cloud.client("iam")
    principal = {"AWS": "arn:aws:iam::000000000000:root", "Service": SERVICE}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role: str = client.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allow = [
        {"Effect": "Allow", "Action": "sagemaker:CreateModel", "Resource": "*", "Condition": conditions},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allow})
    client.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="tester")["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
    return session.client("sagemaker", endpoint_url=cloud.endpoint_url), role
