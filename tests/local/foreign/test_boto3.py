"""Stock boto3 on each service that the constructs use, except SageMaker."""

import json
import time

import pytest

from mlops_local.stacks import deployer
from mlops_local.stacks.recorded_types import list_recorded


def until(look, seconds=60):
    """Poll until the result is true."""
    end = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def test_s3_keeps_versions_under_the_key(foreign):
    """Encrypted by default, versioned, and read back by version."""
    s3, bucket = foreign.client("s3"), foreign.outputs["BucketName"]
    first = s3.put_object(Bucket=bucket, Key="boto/k", Body=b"1")
    s3.put_object(Bucket=bucket, Key="boto/k", Body=b"2")
    assert (first["ServerSideEncryption"], first["SSEKMSKeyId"]) == ("aws:kms", foreign.outputs["KeyArn"])
    assert s3.get_object(Bucket=bucket, Key="boto/k", VersionId=first["VersionId"])["Body"].read() == b"1"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="boto/")["KeyCount"] == 1


def test_s3_audit_objects_are_locked(foreign):
    """Governance retention rejects the delete in the retained bucket."""
    s3, bucket = foreign.client("s3"), foreign.outputs["AuditName"]
    version = s3.put_object(Bucket=bucket, Key="audit/1", Body=b"1")["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key="audit/1", VersionId=version)


def test_dynamodb_writes_on_condition(foreign):
    """The second writer of a lock loses with ConditionalCheckFailedException."""
    table, name = foreign.client("dynamodb"), foreign.outputs["TableName"]
    lock = {
        "TableName": name, "Key": {"id": {"S": "lock"}}, "UpdateExpression": "SET holder = :me",
        "ConditionExpression": "attribute_not_exists(holder)",
    }  # fmt: skip
    table.update_item(**lock, ExpressionAttributeValues={":me": {"S": "one"}})
    with pytest.raises(table.exceptions.ConditionalCheckFailedException):
        table.update_item(**lock, ExpressionAttributeValues={":me": {"S": "two"}})
    assert table.get_item(TableName=name, Key={"id": {"S": "lock"}})["Item"]["holder"] == {"S": "one"}
    assert (
        table.describe_table(TableName=name)["Table"]["SSEDescription"]["KMSMasterKeyArn"] == foreign.outputs["KeyArn"]
    )


def test_an_event_reaches_the_function_through_bus_rule_and_queue(foreign):
    """Bus -> rule -> encrypted queue -> function in a VPC -> encrypted table, each by its own policy."""
    table, name = foreign.client("dynamodb"), foreign.outputs["TableName"]
    entry = {
        "Source": "foreign",
        "DetailType": "boto",
        "Detail": json.dumps({"a": 1}),
        "EventBusName": foreign.outputs["BusName"],
    }
    assert foreign.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    item = until(lambda: table.get_item(TableName=name, Key={"id": {"S": "message"}}).get("Item"))
    assert item, "no message came through"
    assert json.loads(item["body"]["S"])["detail"] == {"a": 1}


def test_an_alarm_reaches_a_queue_through_the_topic(own_cloud, assembly):
    """Metric -> alarm -> encrypted topic -> raw delivery to an encrypted queue, with minutes that last two seconds."""
    cloud = own_cloud(clock_scale=30)
    outputs = deployer.deploy(cloud, assembly)["Foreign"]
    sqs, url = cloud.client("sqs"), outputs["DeadLettersUrl"]
    datum = {"MetricName": "Errors", "Value": 5, "Dimensions": [{"Name": "Unit", "Value": "a"}]}
    cloud.client("cloudwatch").put_metric_data(Namespace="Foreign", MetricData=[datum])

    def alarm():
        rows = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(row["Body"]) for row in rows]
        return [
            body
            for body in bodies
            if body.get("AlarmName") == outputs["AlarmName"] and body["NewStateValue"] == "ALARM"
        ]

    assert until(alarm), "the alarm sent nothing"


def test_a_machine_runs_as_its_role_and_tells_its_history(foreign):
    """The allowed task succeeds; the other fails with AWS's message, and the history has the place."""
    client = foreign.client("stepfunctions")

    def run(data):
        arn = client.start_execution(stateMachineArn=foreign.outputs["MachineArn"], input=json.dumps(data))[
            "executionArn"
        ]
        until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING")
        return client.describe_execution(executionArn=arn)

    assert json.loads(run({"x": 1})["output"])["function"] == {"seen": {"x": 1}}
    failed = run({"put": True})
    assert (failed["status"], failed["error"]) == ("FAILED", "DynamoDB.AccessDeniedException")
    kinds = [event["type"] for event in client.get_execution_history(executionArn=failed["executionArn"])["events"]]
    assert {"ExecutionStarted", "TaskStateEntered", "TaskFailed", "ExecutionFailed"} <= set(kinds)


def test_a_function_is_invoked_and_logs(foreign):
    """The response is returned, and the invocation is in CloudWatch Logs."""
    name = foreign.outputs["FunctionName"]
    answer = foreign.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"hello": "you"}))
    assert json.loads(answer["Payload"].read()) == {"seen": {"hello": "you"}}
    group = foreign.client("lambda").get_function_configuration(FunctionName=name)["LoggingConfig"]["LogGroup"]
    logs = foreign.client("logs")
    streams = until(lambda: logs.describe_log_streams(logGroupName=group)["logStreams"])
    assert streams, f"nothing was logged to {group}"


def test_kms_encrypts_in_a_context(foreign):
    """Another encryption context does not decrypt."""
    kms, key = foreign.client("kms"), foreign.outputs["KeyArn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"unit": "demand"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"unit": "demand"})["Plaintext"] == b"x"
    with pytest.raises(kms.exceptions.ClientError, match="InvalidCiphertext"):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext={"unit": "pricing"})
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True


def test_the_role_of_a_function_says_who_it_is(foreign):
    """STS and IAM return the function's role; its trust policy excludes others."""
    sts = foreign.client("sts")
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    with pytest.raises(sts.exceptions.ClientError, match="sts:AssumeRole"):
        sts.assume_role(RoleArn=foreign.outputs["FunctionRole"], RoleSessionName="me")
    name = foreign.outputs["FunctionRole"].rpartition("/")[2]
    assert foreign.client("iam").get_role(RoleName=name)["Role"]["Arn"] == foreign.outputs["FunctionRole"]


def test_parameters_and_logs(foreign):
    """SSM and Logs store values and events."""
    foreign.client("ssm").put_parameter(Name="/foreign/p", Type="String", Value="1")
    assert foreign.client("ssm").get_parameter(Name="/foreign/p")["Parameter"]["Value"] == "1"
    logs = foreign.client("logs")
    logs.create_log_group(logGroupName="/foreign/boto")
    logs.create_log_stream(logGroupName="/foreign/boto", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="/foreign/boto", logStreamName="s", logEvents=[event])
    got = logs.get_log_events(logGroupName="/foreign/boto", logStreamName="s", startFromHead=True)["events"]
    assert [row["message"] for row in got] == ["hello"]


def test_the_flow_log_is_only_recorded(foreign):
    """The flow log, unsupported on a laptop, is listed as recorded only."""
    found = {row.resource_type for row in list_recorded(foreign.client("cloudformation")) if row.stack == "Foreign"}
    assert found == {"AWS::EC2::FlowLog"}
