"""`aws:ResourceTag` in boundaries and policies, for the actions that support it and no others."""

import json
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"
# the denials of a unit's boundary: `src/mlops_constructs/business_unit/unit_permissions.py`
OTHERS = {
    "Effect": "Deny",
    "Action": "*",
    "Resource": "*",
    "Condition": {
        "Null": {"aws:ResourceTag/mlops:unit": "false"},
        "StringNotEquals": {"aws:ResourceTag/mlops:unit": "shop"},
    },
}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
UPPER = [{"Key": "mlops:unit", "Value": "shop-eu"}]
LOWER = [{"key": "mlops:unit", "value": "shop-eu"}]
FLAT = {"mlops:unit": "shop-eu"}


@pytest.fixture
def bounded(cloud, make_role, acting_as, unique):
    """The clients of a role of unit `shop` with full permissions under that unit's boundary."""
    document = json.dumps({"Version": "2012-10-17", "Statement": [EVERYTHING, OTHERS]})
    iam = cloud.client("iam")
    policy = iam.create_policy(PolicyName=f"boundary-{unique}", PolicyDocument=document)["Policy"]["Arn"]
    role = make_role(EVERYTHING)
    iam.put_role_permissions_boundary(RoleName=role.rpartition("/")[2], PermissionsBoundary=policy)
    return acting_as(role)


def denied(call, **arguments) -> bool:
    """Whether a call fails with the explicit denial."""
    with suppress(ClientError):
        call(**arguments)
        return False
    with pytest.raises(ClientError, match="with an explicit deny"):
        call(**arguments)
    return True


def model(cloud, make_role, name: str, tags: list[dict[str, str]]) -> str:
    """Make a model with tags."""
    made = cloud.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=make_role(service="sagemaker.amazonaws.com"),
        PrimaryContainer={"Image": IMAGE},
        Tags=tags,
    )
    return made["ModelArn"]


def test_a_boundary_knows_the_tags_of_sagemakers_resources(cloud, bounded, make_role, unique):
    """Another unit's model cannot be described, retagged or deleted; the own one and an untagged one can."""
    client = bounded("sagemaker")
    other = model(cloud, make_role, f"{unique}-other", UPPER)
    assert denied(client.describe_model, ModelName=f"{unique}-other")
    assert denied(client.add_tags, ResourceArn=other, Tags=[{"Key": "mlops:unit", "Value": "shop"}])
    assert denied(client.delete_tags, ResourceArn=other, TagKeys=["mlops:unit"])
    assert denied(client.delete_model, ModelName=f"{unique}-other")

    own = model(cloud, make_role, f"{unique}-own", [{"Key": "mlops:unit", "Value": "shop"}])
    model(cloud, make_role, f"{unique}-none", [])
    assert client.describe_model(ModelName=f"{unique}-own")["ModelArn"] == own
    client.delete_model(ModelName=f"{unique}-none")


def test_what_is_made_has_no_tags_yet(bounded, make_role, unique):
    """A creating call is not denied for the tags that it sets: those are `aws:RequestTag`."""
    made = bounded("sagemaker").create_model(
        ModelName=unique,
        ExecutionRoleArn=make_role(service="sagemaker.amazonaws.com"),
        PrimaryContainer={"Image": IMAGE},
        Tags=UPPER,
    )
    assert made["ModelArn"].endswith(unique)


def test_the_config_of_another_unit_serves_no_endpoint_of_ones_own(cloud, bounded, make_role, unique):
    """CreateEndpoint is checked on endpoint and config, each with its own tags."""
    model(cloud, make_role, unique, [])
    variant = {"VariantName": "A", "ModelName": unique, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    cloud.client("sagemaker").create_endpoint_config(
        EndpointConfigName=unique, ProductionVariants=[variant], Tags=UPPER
    )
    assert denied(bounded("sagemaker").create_endpoint, EndpointName=unique, EndpointConfigName=unique)


def queue(cloud, name):
    """A tagged queue, and a call on it."""
    url = cloud.client("sqs").create_queue(QueueName=name, tags=FLAT)["QueueUrl"]
    return "sqs", "purge_queue", {"QueueUrl": url}


def topic(cloud, name):
    """A tagged topic, and a call on it."""
    arn = cloud.client("sns").create_topic(Name=name, Tags=UPPER)["TopicArn"]
    return "sns", "publish", {"TopicArn": arn, "Message": "x"}


def table(cloud, name):
    """A tagged table, and a call on it."""
    key = {"AttributeName": "k", "KeyType": "HASH"}
    cloud.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[key],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        Tags=UPPER,
    )
    return "dynamodb", "get_item", {"TableName": name, "Key": {"k": {"S": "x"}}}


def alarm(cloud, name):
    """A tagged alarm, and a call on it."""
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName=name, MetricName="a", Namespace="a", Statistic="Sum", Period=60, Threshold=1.0, EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold", Tags=UPPER,
    )  # fmt: skip
    return "cloudwatch", "set_alarm_state", {"AlarmName": name, "StateValue": "ALARM", "StateReason": "x"}


def rule(cloud, name):
    """A tagged rule, and a call on it."""
    cloud.client("events").put_rule(Name=name, EventPattern='{"source": ["a"]}', Tags=UPPER)
    return "events", "disable_rule", {"Name": name}


def repository(cloud, name):
    """A tagged repository, and a call on it."""
    cloud.client("ecr").create_repository(repositoryName=name, tags=UPPER)
    return "ecr", "list_images", {"repositoryName": name}


def parameter(cloud, name):
    """A tagged parameter, and a call on it."""
    cloud.client("ssm").put_parameter(Name=f"/{name}", Value="x", Type="String", Tags=UPPER)
    return "ssm", "get_parameter", {"Name": f"/{name}"}


def key(cloud, name):
    """A tagged key, and a call on it."""
    made = cloud.client("kms").create_key(Tags=[{"TagKey": "mlops:unit", "TagValue": "shop-eu"}], Description=name)
    return "kms", "generate_data_key", {"KeyId": made["KeyMetadata"]["Arn"], "KeySpec": "AES_256"}


def machine(cloud, name):
    """A tagged state machine, and a call on it."""
    role = cloud.client("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"},
        }),
    )["Role"]["Arn"]  # fmt: skip
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    arn = cloud.client("stepfunctions").create_state_machine(
        name=name, definition=definition, roleArn=role, tags=LOWER
    )["stateMachineArn"]
    return "stepfunctions", "start_execution", {"stateMachineArn": arn}


def execution(cloud, name):
    """An execution of a tagged state machine, which has the machine's tags, and a call on it."""
    arn = machine(cloud, name)[2]["stateMachineArn"]
    started = cloud.client("stepfunctions").start_execution(stateMachineArn=arn, name="x")["executionArn"]
    return "stepfunctions", "stop_execution", {"executionArn": started}


@pytest.mark.parametrize(
    "make", [queue, topic, table, alarm, rule, repository, parameter, key, machine, execution], ids=lambda m: m.__name__
)
def test_a_boundary_knows_the_tags_of_each_service(cloud, bounded, unique, make):
    """Calls on another unit's tagged resources are denied."""
    service, call, arguments = make(cloud, unique)
    assert denied(getattr(bounded(service), call), **arguments)


@pytest.mark.parametrize(
    ("operator", "is_met"), [("StringEquals", False), ("StringNotEquals", True), ("StringEqualsIfExists", True)]
)
def test_where_the_action_knows_no_tags_the_key_is_absent(cloud, make_role, acting_as, allow, unique, operator, is_met):
    """Bucket tags are not evaluated by default: a plain comparison fails, a negated one is true."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_bucket_tagging(Bucket=unique, Tagging={"TagSet": UPPER})
    expected = "shop-eu" if operator != "StringNotEquals" else "shop"
    role = make_role(allow("s3:ListBucket", **{operator: {"aws:ResourceTag/mlops:unit": expected}}))
    if is_met:
        assert acting_as(role)("s3").list_objects_v2(Bucket=unique)["KeyCount"] == 0
        return
    with pytest.raises(ClientError, match="s3:ListBucket"):
        acting_as(role)("s3").list_objects_v2(Bucket=unique)


def test_a_role_is_passed_whatever_its_tags(cloud, make_role, acting_as, allow, unique):
    """IAM's guide: role tags have no reliable effect on `iam:PassRole`, so no policy may rely on them.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    execution = make_role(service="sagemaker.amazonaws.com")
    cloud.client("iam").tag_role(RoleName=execution.rpartition("/")[2], Tags=UPPER)
    passes = allow("iam:PassRole", StringEquals={"aws:ResourceTag/mlops:unit": "shop-eu"})
    client = acting_as(make_role(allow("sagemaker:CreateModel"), passes))("sagemaker")
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.create_model(ModelName=unique, ExecutionRoleArn=execution, PrimaryContainer={"Image": IMAGE})


def test_a_policy_may_ask_for_a_tag(cloud, make_role, acting_as, allow, unique):
    """`aws:ResourceTag` limits a role to resources with the tag."""
    _, _, arguments = machine(cloud, unique)
    tagged = allow("states:StartExecution", StringEquals={"aws:ResourceTag/mlops:unit": "shop-eu"})
    acting_as(make_role(tagged))("stepfunctions").start_execution(**arguments)
    other = allow("states:StartExecution", StringEquals={"aws:ResourceTag/mlops:unit": "shop"})
    with pytest.raises(ClientError, match="states:StartExecution"):
        acting_as(make_role(other))("stepfunctions").start_execution(**arguments)
