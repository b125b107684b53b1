"""CloudFormation types on the running cloud: executed, recorded, refused, rolled back."""

import json
import time

import boto3
import botocore.exceptions
import pytest

from mlops_local import recorded

FUNCTION_ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}},
}  # fmt: skip


@pytest.fixture
def apply(cloud):
    """Create or update a stack from resources: `apply("name", {...})` gives status, outputs and failure reasons."""
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
    row = recorded.RecordedResource("cfn-recorded", "Flow", "AWS::EC2::FlowLog", first["Id"])
    assert row in recorded.list_recorded(cloud.client("cloudformation"))
    assert "cfn-recorded/Flow (AWS::EC2::FlowLog)" in cloud.status()["recorded"]
    status, second, _ = apply("cfn-recorded", flow("vpc-2"), output)
    assert status == "UPDATE_COMPLETE"
    assert second["Id"] != first["Id"]


def test_refuses_an_unknown_type_by_name(cloud):
    """Before anything is made, as CloudFormation does."""
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
    """And loses them by update, keeping its items."""
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
    """MiniStack leaves both out; an update takes the key away."""
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
    """Its rule reaches CloudWatch; a change of the rule is an update in place."""

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
    """What its own policy allows and the boundary does not is denied; without the boundary it is allowed again."""
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
