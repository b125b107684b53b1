"""What every role around SageMaker needs."""

import json
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError

from mlops_constructs._sagemaker import (
    SERVICE,
    alarm_arn,
    container_statements,
    describe_alarms_statement,
    placed,
    sagemaker_arn,
)
from mlops_local.cloud import Cloud

IMAGE = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"


@pytest.fixture
def stack() -> cdk.Stack:
    """A stack in a known account and region."""
    return cdk.Stack(cdk.App(), "Demand", env=cdk.Environment(account="123456789012", region="eu-west-1"))


def _statements(stack: cdk.Stack, *statements: iam.PolicyStatement) -> list[dict[str, Any]]:
    resolved: list[dict[str, Any]] = stack.resolve([statement.to_statement_json() for statement in statements])
    return json.loads(json.dumps(resolved).replace('{"Ref": "AWS::Partition"}', '"aws"'))  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    return "".join(value["Fn::Join"][1]) if isinstance(value, dict) else str(value)


def test_arns_are_those_of_the_service_authorization_reference(stack: cdk.Stack) -> None:
    """SageMaker separates by a slash, CloudWatch by a colon; partition, region and account are the stack's.

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
    """Composite alarms are shown only to who may read all, and nothing but reading is allowed."""
    (statement,) = _statements(stack, describe_alarms_statement())

    assert statement == {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}


def test_a_container_writes_its_logs_and_metrics_and_nothing_else(stack: cdk.Stack) -> None:
    """Logs under its own group, metrics in its own namespace, network interfaces."""
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
    """Neither makes it others, nor writes to them."""
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
    """Either way is allowed by default."""
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
    """IAM lets none be made elsewhere, nor outside any network."""
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
    """Return SageMaker's client of a role that may make models under conditions, and that role."""
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
