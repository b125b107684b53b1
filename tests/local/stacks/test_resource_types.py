"""CloudFormation types on the running cloud: executed, recorded, rejected, rolled back.

Recorded resources: schema, identity, replacement.
"""

import json
import time

import boto3
import botocore.exceptions
import pytest

from mlops_local.stacks import resource_types
from mlops_local.stacks.recorded_types import RecordedResource, list_recorded

FUNCTION_ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}},
}  # fmt: skip


WHERE = "us-east-1:000000000000"
FLOW_LOG = {"ResourceId": "vpc-1", "ResourceType": "VPC", "TrafficType": "ALL", "LogGroupName": "g"}


@pytest.fixture
def apply(cloud):
    """Create or update a stack from resources: `apply("name", {...})` returns status, outputs and failure reasons."""
    client = cloud.client("cloudformation")

    def run(name, resources, outputs=None):
        body = json.dumps(
            {"Resources": resources, "Outputs": {key: {"Value": value} for key, value in (outputs or {}).items()}}
        )
        known = [stack["StackName"] for stack in client.describe_stacks()["Stacks"]]
        start = client.update_stack if name in known else client.create_stack
        start(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        while (stack := client.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        events = client.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            event.get("ResourceStatusReason", "") for event in events if event["ResourceStatus"].endswith("_FAILED")
        ]
        values = {row["OutputKey"]: row["OutputValue"] for row in stack.get("Outputs", [])}
        return stack["StackStatus"], values, " | ".join(reasons)

    return run


def test_records_and_lists_what_has_no_effect(apply, cloud):
    """A flow log gets an id, another network replaces it, and it is listed as recorded."""

    def flow(network):
        properties = {"ResourceId": network, "ResourceType": "VPC", "TrafficType": "ALL", "LogGroupName": "g"}
        return {"Flow": {"Type": "AWS::EC2::FlowLog", "Properties": properties}}

    output = {"Id": {"Fn::GetAtt": ["Flow", "Id"]}}
    status, first, _ = apply("cfn-recorded", flow("vpc-1"), output)
    assert status == "CREATE_COMPLETE"
    row = RecordedResource("cfn-recorded", "Flow", "AWS::EC2::FlowLog", first["Id"])
    assert row in list_recorded(cloud.client("cloudformation"))
    assert "cfn-recorded/Flow (AWS::EC2::FlowLog)" in cloud.status()["recorded"]
    status, second, _ = apply("cfn-recorded", flow("vpc-2"), output)
    assert status == "UPDATE_COMPLETE"
    assert second["Id"] != first["Id"]


def test_refuses_an_unknown_type_by_name(cloud):
    """Before anything is created, as in CloudFormation."""
    client = cloud.client("cloudformation")
    body = json.dumps({"Resources": {"Q": {"Type": "AWS::Quantum::Computer"}}})
    with pytest.raises(client.exceptions.ClientError, match=r"Unrecognized resource types: \[AWS::Quantum::Computer\]"):
        client.create_stack(StackName="cfn-unknown", TemplateBody=body)


def table(**settings):
    """A table with settings."""
    properties = {
        "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}], **settings,
    }  # fmt: skip
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties}


def test_a_table_gets_its_time_to_live_recovery_and_key(apply, cloud):
    """An update removes them and keeps the table's items."""
    key = {"Type": "AWS::KMS::Key", "Properties": {}}
    full = table(
        TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True},
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        SSESpecification={"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
    )
    outputs = {"Name": {"Ref": "Table"}, "Key": {"Fn::GetAtt": ["Key", "Arn"]}}
    status, values, reasons = apply("cfn-table", {"Key": key, "Table": full}, outputs)
    assert status == "CREATE_COMPLETE", reasons
    client, name = cloud.client("dynamodb"), values["Name"]
    description = client.describe_table(TableName=name)["Table"]["SSEDescription"]
    assert (description["SSEType"], description["KMSMasterKeyArn"]) == ("KMS", values["Key"])
    assert client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    client.put_item(TableName=name, Item={"id": {"S": "1"}})
    del full["Properties"]["TimeToLiveSpecification"], full["Properties"]["PointInTimeRecoverySpecification"]
    assert apply("cfn-table", {"Key": key, "Table": full}, outputs)[0] == "UPDATE_COMPLETE"
    assert client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"
    backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "DISABLED"
    assert client.scan(TableName=name)["Count"] == 1


def test_a_topic_of_a_template_has_its_key_and_admits_the_account(apply, cloud):
    """MiniStack's own type ignores both; an update removes the key."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": key}}}
    _, outputs, _ = apply("topic-key", topic, {"Arn": {"Ref": "Topic"}})
    attributes = cloud.client("sns").get_topic_attributes(TopicArn=outputs["Arn"])["Attributes"]
    (statement,) = json.loads(attributes["Policy"])["Statement"]

    assert attributes["KmsMasterKeyId"] == key
    assert statement["Condition"] == {"StringEquals": {"AWS:SourceOwner": "000000000000"}}
    apply("topic-key", {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "plain"}}})
    attributes = cloud.client("sns").get_topic_attributes(TopicArn=outputs["Arn"])["Attributes"]
    assert attributes.get("KmsMasterKeyId") is None


def test_a_composite_alarm_is_executed_and_updated(apply, cloud):
    """Its rule reaches CloudWatch; a changed rule is updated in place."""

    def alarms(rule):
        alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {
            "AlarmName": "cfn-part", "Namespace": "Cfn", "MetricName": "m", "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1, "EvaluationPeriods": 1, "Period": 60, "Statistic": "Sum"}}  # fmt: skip
        whole = {"Type": "AWS::CloudWatch::CompositeAlarm", "DependsOn": "Part",
                 "Properties": {"AlarmName": "cfn-whole", "AlarmRule": rule, "ActionsEnabled": "true"}}  # fmt: skip
        return {"Part": alarm, "Whole": whole}

    output = {"Arn": {"Fn::GetAtt": ["Whole", "Arn"]}}
    status, values, reasons = apply("cfn-composite", alarms('ALARM("cfn-part")'), output)
    assert status == "CREATE_COMPLETE", reasons
    assert values["Arn"].endswith(":alarm:cfn-whole")
    assert apply("cfn-composite", alarms('NOT ALARM("cfn-part")'), output)[0] == "UPDATE_COMPLETE"
    client = cloud.client("cloudwatch")
    (found,) = client.describe_alarms(AlarmNames=["cfn-whole"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert found["AlarmRule"] == 'NOT ALARM("cfn-part")'


def test_a_role_keeps_to_its_boundary(apply, cloud):
    """An action allowed by its own policy only is denied; without the boundary it is allowed again."""
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
    }
    only_topics = json.loads(json.dumps(document).replace("sqs:ListQueues", "sns:ListTopics"))
    trust = json.loads(json.dumps(FUNCTION_ROLE["Properties"]["AssumeRolePolicyDocument"]))
    trust["Statement"][0]["Principal"] = {"AWS": "arn:aws:iam::000000000000:root"}
    policies = [{"PolicyName": "Own", "PolicyDocument": document}]

    def resources(**settings):
        role = {"AssumeRolePolicyDocument": trust, "Policies": policies, **settings}
        boundary = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": only_topics}}
        return {"Boundary": boundary, "Role": {"Type": "AWS::IAM::Role", "Properties": role}}

    def list_queues(role):
        keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="one")["Credentials"]
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], "us-east-1")
        return session.client("sqs", endpoint_url=cloud.endpoint_url).list_queues()

    output = {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}
    _, within, _ = apply("cfn-boundary", resources(PermissionsBoundary={"Ref": "Boundary"}), output)
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: sqs:ListQueues"):
        list_queues(within["Role"])
    _, without, _ = apply("cfn-boundary", resources(), output)
    assert list_queues(without["Role"])["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_records_a_flow_log_with_a_stable_identity():
    """The same declaration has the same id, another network another id."""
    made = resource_types.create_recorded("AWS::EC2::FlowLog", "Flow", FLOW_LOG, "stack", WHERE)
    assert made == resource_types.create_recorded("AWS::EC2::FlowLog", "Flow", FLOW_LOG, "stack", WHERE)
    assert made[0].startswith("fl-")
    assert made[1] == {"Id": made[0]}
    moved = {**FLOW_LOG, "ResourceId": "vpc-2"}
    assert resource_types.create_recorded("AWS::EC2::FlowLog", "Flow", moved, "stack", WHERE)[0] != made[0]
    assert resource_types.is_replaced("AWS::EC2::FlowLog", FLOW_LOG, moved)
    assert not resource_types.is_replaced(
        "AWS::EC2::FlowLog", FLOW_LOG, {**FLOW_LOG, "Tags": [{"Key": "a", "Value": "b"}]}
    )


def test_references_compound_identities_as_cloudformation_does():
    """A scalable target is `resource|dimension|namespace`, a scaling policy its ARN."""
    target = {
        "ResourceId": "endpoint/e/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ServiceNamespace": "sagemaker",
        "MinCapacity": "1",
        "MaxCapacity": 2,
    }
    physical, _ = resource_types.create_recorded(
        "AWS::ApplicationAutoScaling::ScalableTarget", "Target", target, "stack", WHERE
    )
    assert physical == "endpoint/e/variant/AllTraffic|sagemaker:variant:DesiredInstanceCount|sagemaker"
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": physical}
    physical, attributes = resource_types.create_recorded(
        "AWS::ApplicationAutoScaling::ScalingPolicy", "Policy", policy, "stack", WHERE
    )
    assert physical == attributes["Arn"]
    assert physical.startswith("arn:aws:applicationautoscaling:us-east-1:000000000000:")


def test_fails_with_every_problem_of_the_properties():
    """Missing, unknown and invalid properties are reported together."""
    wrong = {"ResourceType": "House", "LogGroup": "g", "MaxAggregationInterval": "soon"}
    with pytest.raises(resource_types.SchemaError) as error:
        resource_types.check_schema("AWS::EC2::FlowLog", wrong)
    message = str(error.value)
    assert message.startswith("model validation failed for AWS::EC2::FlowLog: ")
    for part in (
        "'ResourceId' is a required property",
        "'LogGroup' was unexpected",
        "'House' is not one of",
        "'soon' is not",
    ):
        assert part in message


def test_takes_text_for_numbers_and_booleans():
    """CloudFormation passes parameters as strings; its schema check accepts them."""
    entry = {"NetworkAclId": "a", "Protocol": "6", "RuleAction": "allow", "RuleNumber": "100", "Egress": "true"}
    resource_types.check_schema("AWS::EC2::NetworkAclEntry", {**entry, "CidrBlock": "0.0.0.0/0"})


def test_fails_for_words_where_a_number_belongs():
    """A threshold that is not a number is rejected, a numeric string is accepted."""
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": "t"}
    tracking = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
    kind, member = "AWS::ApplicationAutoScaling::ScalingPolicy", "TargetTrackingScalingPolicyConfiguration"
    resource_types.check_schema(kind, {**policy, member: {**tracking, "TargetValue": "70.5"}})
    with pytest.raises(resource_types.SchemaError, match=f"#/{member}/TargetValue: 'many' is not of type 'number'"):
        resource_types.check_schema(kind, {**policy, member: {**tracking, "TargetValue": "many"}})


def test_fails_for_a_value_of_an_attribute():
    """An attribute that CloudFormation computes cannot be set."""
    with pytest.raises(resource_types.SchemaError, match="#/Id: is read-only"):
        resource_types.check_schema("AWS::EC2::FlowLog", {**FLOW_LOG, "Id": "fl-1"})


def test_a_keyword_on_strings_sees_a_boolean_as_its_text() -> None:
    """The schema of PodIdentityAssociation has a minimum length on the boolean ``DisableSessionTags``."""
    properties = {
        "ClusterName": "a",
        "Namespace": "b",
        "ServiceAccount": "c",
        "RoleArn": "d",
        "DisableSessionTags": True,
    }

    resource_types.check_schema("AWS::EKS::PodIdentityAssociation", properties)
    with pytest.raises(resource_types.SchemaError, match="ClusterName"):
        resource_types.check_schema("AWS::EKS::PodIdentityAssociation", {**properties, "ClusterName": ""})


def test_an_identity_provider_is_named_by_its_issuer():
    """Trust policies contain it, and STS finds it by a token's issuer: the ARN of the service authorization reference."""
    made = resource_types.create_recorded(
        "AWS::IAM::OIDCProvider", "Provider", {"Url": "https://git.example.com/gitlab"}, "stack", WHERE
    )

    arn = "arn:aws:iam::000000000000:oidc-provider/git.example.com/gitlab"
    assert made == (arn, {"Arn": arn})


@pytest.mark.parametrize("url", ["https://gitlab.corp", "https://gitlab/path", "https://10.0.0.7"])
def test_an_identity_provider_that_aws_cannot_reach_is_refused(url: str):
    """IAM connects to it when it is created (botocore: iam OpenIdIdpCommunicationErrorException), and STS for every token."""
    with pytest.raises(resource_types.UnreachableIssuerError, match="OpenIdIdpCommunicationError: IAM cannot connect"):
        resource_types.create_recorded("AWS::IAM::OIDCProvider", "Provider", {"Url": url}, "stack", WHERE)
