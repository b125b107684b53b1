"""Existing names are rejected at a stack's creation, and generated names are new each time.

Contract of the handlers of CloudFormation's types: the create handler fails with AlreadyExists
(https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract.html, and the contract's test
`contract_create_create`), also where the service's own call overwrites or is idempotent, as PutMetricAlarm, PutRule, CreateTopic.
"""

import contextlib
import itertools
import json

import pytest
from botocore.exceptions import WaiterError

_number = itertools.count(1)
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole",
     "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]}}]}  # fmt: skip
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
}
KEYS = {
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ALARM = {"Namespace": "Taken", "MetricName": "m", "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1,
         "EvaluationPeriods": 1, "Period": 60, "Statistic": "Sum"}  # fmt: skip
MACHINE = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
ROLE = "arn:aws:iam::000000000000:role/taken"
CODE = {"ZipFile": "def handler(event, context):\n    return event\n"}


def resource(kind, **properties):
    """Return a resource of a type with properties."""
    return {"Type": kind, "Properties": properties}


# each type with a fixed or optional name in our templates: its resource with a name
NAMED = {
    "AWS::CloudWatch::Alarm": lambda name: resource("AWS::CloudWatch::Alarm", AlarmName=name, **ALARM),
    "AWS::CloudWatch::CompositeAlarm": lambda name: resource("AWS::CloudWatch::CompositeAlarm", AlarmName=name, AlarmRule="TRUE"),
    "AWS::CloudWatch::Dashboard": lambda name: resource("AWS::CloudWatch::Dashboard", DashboardName=name, DashboardBody="{}"),
    "AWS::DynamoDB::Table": lambda name: resource("AWS::DynamoDB::Table", TableName=name, **KEYS),
    "AWS::Events::EventBus": lambda name: resource("AWS::Events::EventBus", Name=name),
    "AWS::Events::Rule": lambda name: resource("AWS::Events::Rule", Name=name, EventPattern={"source": ["mlops.taken"]}),
    "AWS::Glue::DataQualityRuleset": lambda name: resource(
        "AWS::Glue::DataQualityRuleset", Name=name, Ruleset="Rules = [ IsComplete \"k\" ]"),
    "AWS::Glue::Database": lambda name: resource(
        "AWS::Glue::Database", CatalogId="000000000000", DatabaseInput={"Name": name.replace("-", "_")}),
    "AWS::Glue::Table": lambda name: resource(
        "AWS::Glue::Table", CatalogId="000000000000", DatabaseName="taken_tables", TableInput={"Name": name.replace("-", "_")}),
    "AWS::IAM::ManagedPolicy": lambda name: resource("AWS::IAM::ManagedPolicy", ManagedPolicyName=name, PolicyDocument=POLICY),
    "AWS::IAM::Role": lambda name: resource("AWS::IAM::Role", RoleName=name, AssumeRolePolicyDocument=TRUST),
    "AWS::KMS::Alias": lambda name: resource("AWS::KMS::Alias", AliasName=f"alias/{name}", TargetKeyId="taken"),
    "AWS::Lambda::Function": lambda name: resource(
        "AWS::Lambda::Function", FunctionName=name, Role=ROLE, Runtime="python3.13", Handler="index.handler", Code=CODE),
    "AWS::Logs::LogGroup": lambda name: resource("AWS::Logs::LogGroup", LogGroupName=name),
    "AWS::S3::Bucket": lambda name: resource("AWS::S3::Bucket", BucketName=name),
    "AWS::SNS::Topic": lambda name: resource("AWS::SNS::Topic", TopicName=name),
    "AWS::SQS::Queue": lambda name: resource("AWS::SQS::Queue", QueueName=name),
    "AWS::SSM::Parameter": lambda name: resource("AWS::SSM::Parameter", Name=f"/{name}", Type="String", Value="1"),
    "AWS::SageMaker::ModelPackageGroup": lambda name: resource(
        "AWS::SageMaker::ModelPackageGroup", ModelPackageGroupName=name),
    "AWS::SecretsManager::Secret": lambda name: resource("AWS::SecretsManager::Secret", Name=name, SecretString="x"),
    "AWS::StepFunctions::StateMachine": lambda name: resource(
        "AWS::StepFunctions::StateMachine", StateMachineName=name, DefinitionString=MACHINE, RoleArn=ROLE),
}  # fmt: skip


@pytest.fixture
def stacks(cloud):
    """Create, update and delete stacks: ``stacks("name", resources)`` returns status and reasons; deleted after the test."""
    client, made = cloud.client("cloudformation"), []

    def apply(resources, name=None):
        existing, name = name, name or f"taken-{next(_number)}"
        body = json.dumps({"Resources": resources})
        call = client.create_stack if existing is None else client.update_stack
        call(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        kind = "stack_create_complete" if existing is None else "stack_update_complete"
        with contextlib.suppress(WaiterError):  # its status is read below
            client.get_waiter(kind).wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        made.append(name)
        events = client.describe_stack_events(StackName=name)["StackEvents"]
        status = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return name, status, " ".join(event.get("ResourceStatusReason", "") for event in events)

    yield apply
    for name in made[::-1]:
        client.delete_stack(StackName=name)


def physical(cloud, stack, logical_id="Thing"):
    """Return the physical id of a stack's resource."""
    client = cloud.client("cloudformation")
    (row,) = client.describe_stack_resources(StackName=stack, LogicalResourceId=logical_id)["StackResources"]
    return row["PhysicalResourceId"]


@pytest.fixture(scope="module")
def surroundings(cloud):
    """Make the database of the tables, and the role of functions and machines."""
    cloud.client("glue").create_database(DatabaseInput={"Name": "taken_tables"})
    cloud.client("iam").create_role(RoleName="taken", AssumeRolePolicyDocument=json.dumps(TRUST))


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_a_name_that_exists_is_refused_and_what_has_it_stays(stacks, cloud, surroundings, kind):
    """The second stack fails at that resource and rolls back; the first one's is unchanged, and is deleted with its stack."""
    name = f"taken-name-{next(_number)}"
    first, status, reasons = stacks({"Thing": NAMED[kind](name)})
    assert status == "CREATE_COMPLETE", reasons
    second, status, reasons = stacks({"Thing": NAMED[kind](name)})
    assert status == "ROLLBACK_COMPLETE"
    if kind == "AWS::S3::Bucket":  # which CloudFormation validates before it creates anything
        assert "Validation failed with 1 error(s)" in reasons
    else:
        assert "already exists" in reasons.lower()
    client = cloud.client("cloudformation")
    for stack in (second, first):
        client.delete_stack(StackName=stack)
        client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    _, status, reasons = stacks({"Thing": NAMED[kind](name)})
    assert status == "CREATE_COMPLETE", reasons


@pytest.mark.parametrize(
    "unnamed",
    [
        resource("AWS::DynamoDB::Table", **KEYS),
        resource("AWS::Logs::LogGroup", RetentionInDays=365),
        resource("AWS::S3::Bucket"),
        resource("AWS::SQS::Queue"),
        resource("AWS::IAM::Role", AssumeRolePolicyDocument=TRUST),
    ],
    ids=lambda body: body["Type"],
)
def test_a_generated_name_is_new_each_time_and_stays_through_updates(stacks, cloud, unnamed):
    """A stack that is created again does not take over resources that its predecessor retained."""
    name = f"taken-again-{next(_number)}"
    client = cloud.client("cloudformation")
    names = []
    for _ in range(2):
        client.create_stack(
            StackName=name,
            TemplateBody=json.dumps({"Resources": {"Thing": {**unnamed, "DeletionPolicy": "Retain"}}}),
            Capabilities=["CAPABILITY_IAM"],
        )
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        names.append(physical(cloud, name))
        tagged = {**unnamed, "Properties": {**unnamed["Properties"], "Tags": [{"Key": "a", "Value": "b"}]}}
        _, status, reasons = stacks({"Thing": {**tagged, "DeletionPolicy": "Retain"}}, name)
        assert status == "UPDATE_COMPLETE", reasons
        assert physical(cloud, name) == names[-1]
        client.delete_stack(StackName=name)
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert names[0] != names[1]
    assert all("taken-again" in physical_id for physical_id in names)


def test_what_is_protected_against_deletion_keeps_its_stack_from_going(stacks, cloud):
    """DeleteTable rejects a protected table, and so does CloudFormation's handler, also in a rollback."""
    protected = resource("AWS::DynamoDB::Table", DeletionProtectionEnabled=True, **KEYS)
    broken = {"Type": "AWS::EC2::FlowLog", "DependsOn": "Thing", "Properties": {"ResourceType": "VPC"}}
    _, status, reasons = stacks({"Thing": protected, "Broken": broken})
    assert status == "ROLLBACK_FAILED"
    assert "currently protected against deletion" in reasons


def test_what_was_imported_keeps_its_name_through_updates(stacks, cloud):
    """A table without a name in the template is imported by its name; an update changes it in place and its items stay."""
    client, dynamodb = cloud.client("cloudformation"), cloud.client("dynamodb")
    name, stack = f"imported-{next(_number)}", f"taken-import-{next(_number)}"
    dynamodb.create_table(TableName=name, **KEYS)
    dynamodb.put_item(TableName=name, Item={"k": {"S": "kept"}})
    template = {
        "Resources": {"Thing": {**resource("AWS::DynamoDB::Table", **KEYS), "DeletionPolicy": "RetainExceptOnCreate"}}
    }
    change = client.create_change_set(
        StackName=stack, ChangeSetName="import", ChangeSetType="IMPORT", TemplateBody=json.dumps(template),
        ResourcesToImport=[{"ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": "Thing",
                            "ResourceIdentifier": {"TableName": name}}],
    )  # fmt: skip
    client.get_waiter("change_set_create_complete").wait(ChangeSetName=change["Id"], WaiterConfig={"Delay": 1})
    client.execute_change_set(ChangeSetName=change["Id"])
    client.get_waiter("stack_import_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    template["Resources"]["Thing"]["Properties"]["Tags"] = [{"Key": "a", "Value": "b"}]
    _, status, reasons = stacks(template["Resources"], stack)
    assert status == "UPDATE_COMPLETE", reasons
    assert physical(cloud, stack) == name
    assert dynamodb.get_item(TableName=name, Key={"k": {"S": "kept"}})["Item"] == {"k": {"S": "kept"}}
