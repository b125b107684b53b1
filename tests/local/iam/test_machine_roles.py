"""A state machine's tasks use its role."""

import pytest

ACCOUNT = "000000000000"
STATES = "states.amazonaws.com"


@pytest.fixture
def table(cloud, unique):
    """A table with the partition key `id`."""
    cloud.client("dynamodb").create_table(
        TableName=unique, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )  # fmt: skip
    return unique


def test_an_optimized_task_needs_the_role(run_machine, make_role, allow, table):
    """Without the permission the task fails with AWS's error and message; with it the item is written."""
    arguments = {"TableName": table, "Item": {"id": {"S": "1"}}}
    resource = "arn:aws:states:::dynamodb:putItem"
    failed = run_machine(make_role(service=STATES), resource, arguments)
    assert (failed["status"], failed["error"]) == ("FAILED", "DynamoDB.AccessDeniedException")
    assert f"dynamodb:PutItem on resource: arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}" in failed["cause"]
    allowed = make_role(
        allow("dynamodb:PutItem", resource=f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}"), service=STATES
    )
    assert run_machine(allowed, resource, arguments)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("call", "action", "error"),
    [
        ("dynamodb:scan", "dynamodb:Scan", "DynamoDb.AccessDeniedException"),
        ("s3:listBuckets", "s3:ListAllMyBuckets", "S3.AccessDeniedException"),
        ("cloudwatch:describeAlarms", "cloudwatch:DescribeAlarms", "CloudWatch"),
        ("sagemaker:listEndpoints", "sagemaker:ListEndpoints", "SageMaker"),
    ],
)
def test_an_sdk_task_is_checked_on_its_wire_request(run_machine, make_role, allow, table, call, action, error):
    """The action is that of the API operation."""
    resource, arguments = f"arn:aws:states:::aws-sdk:{call}", {"TableName": table} if "dynamodb" in call else {}
    failed = run_machine(make_role(service=STATES), resource, arguments)
    assert failed["status"] == "FAILED"
    assert failed["error"].startswith(error)
    assert f"is not authorized to perform: {action} on resource: " in failed["cause"]
    done = run_machine(make_role(allow(action), service=STATES), resource, arguments)
    assert done["status"] == "SUCCEEDED", done


def test_an_sdk_task_lists_only_below_the_prefix_of_its_role(cloud, run_machine, make_role, allow, unique):
    """The condition keys of a listing come from the request."""
    cloud.client("s3").create_bucket(Bucket=unique)
    statement = allow("s3:ListBucket", resource=f"arn:aws:s3:::{unique}", StringLike={"s3:prefix": "predictions/*"})
    role, resource = make_role(statement, service=STATES), "arn:aws:states:::aws-sdk:s3:listObjectsV2"
    done = run_machine(role, resource, {"Bucket": unique, "Prefix": "predictions/a/"})
    assert done["status"] == "SUCCEEDED", done
    failed = run_machine(role, resource, {"Bucket": unique, "Prefix": "models/"})
    assert failed["error"] == "S3.AccessDeniedException"


def test_a_copy_is_asked_for_its_source_and_the_key_of_its_source(cloud, run_machine, make_role, allow, unique):
    """Like a direct call: s3:GetObject on the source, also within one bucket, and kms:Decrypt of its key.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html (Permissions)
    """
    s3, key = cloud.client("s3"), cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    buckets = [f"{unique}-source", f"{unique}-target"]
    for bucket in buckets:
        s3.create_bucket(Bucket=bucket)
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(Bucket=buckets[0], Key="secret", Body=b"x", **encrypted)
    s3.put_object(Bucket=buckets[1], Key="plain", Body=b"x")
    resource, writes = "arn:aws:states:::aws-sdk:s3:copyObject", allow("s3:PutObject", resource="arn:aws:s3:::*/*")
    decrypts = allow("kms:Decrypt", resource=key)
    for source, rights in (
        (f"{buckets[0]}/secret", [(allow("s3:GetObject"), "s3:GetObject"), (decrypts, "kms:Decrypt")]),
        (f"{buckets[1]}/plain", [(allow("s3:GetObject"), "s3:GetObject")]),
    ):
        arguments = {"Bucket": buckets[1], "Key": "copied", "CopySource": source}
        for _, missing in rights:
            others = [statement for statement, action in rights if action != missing]
            failed = run_machine(make_role(writes, *others, service=STATES), resource, arguments)
            assert f"perform: {missing} on resource: " in failed.get("cause", "no failure")
        done = run_machine(make_role(writes, *(s for s, _ in rights), service=STATES), resource, arguments)
        assert done["status"] == "SUCCEEDED", done


def test_following_a_job_needs_its_description_its_stop_and_the_managed_rule(run_machine, make_role, allow, unique):
    """`.sync` requires the permissions listed in https://docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html."""
    job = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job/{unique}"
    execution = make_role(service="sagemaker.amazonaws.com")
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"
    arguments = {
        "ProcessingJobName": unique, "RoleArn": execution, "AppSpecification": {"ImageUri": image},
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    }  # fmt: skip
    resource = "arn:aws:states:::sagemaker:createProcessingJob.sync"
    passes = allow("iam:PassRole", resource=execution, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    statements = [allow("sagemaker:CreateProcessingJob", resource=job)]
    for missing, more in (
        ("iam:PassRole", passes),
        ("sagemaker:DescribeProcessingJob", allow("sagemaker:DescribeProcessingJob", resource=job)),
        ("sagemaker:StopProcessingJob", allow("sagemaker:StopProcessingJob", resource=job)),
        ("events:PutTargets", None),
    ):
        failed = run_machine(make_role(*statements, service=STATES), resource, arguments)
        assert failed["error"] == "SageMaker.AmazonSageMakerException"
        assert f"perform: {missing} on resource" in failed["cause"]
        statements.append(more)
    assert "rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule" in failed["cause"]


def test_a_role_that_states_may_not_take_fails_the_task(run_machine, make_role, allow, table):
    """The trust policy is evaluated with the machine as source, so confused-deputy conditions apply."""
    write = allow("dynamodb:PutItem")
    arguments = {"TableName": table, "Item": {"id": {"S": "1"}}}
    for role in (
        make_role(write, service="lambda.amazonaws.com"),
        make_role(write, service=STATES, trust={"Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}),
    ):
        failed = run_machine(role, "arn:aws:states:::dynamodb:putItem", arguments)
        assert failed["cause"].startswith(
            f"User: {STATES} is not authorized to perform: sts:AssumeRole on resource: {role}"
        )
    source = {"ArnLike": {"aws:SourceArn": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:*"}}
    kept = make_role(
        write, service=STATES, trust={"Condition": {**source, "StringEquals": {"aws:SourceAccount": ACCOUNT}}}
    )
    assert run_machine(kept, "arn:aws:states:::dynamodb:putItem", arguments)["status"] == "SUCCEEDED"


def test_events_go_to_the_buses_that_the_role_may_write(run_machine, make_role, allow, cloud, unique):
    """An entry's bus is the resource; `events:source` is the entry's source."""
    cloud.client("events").create_event_bus(Name=unique)
    entry = {"Source": "mlops.demand", "DetailType": "x", "Detail": "{}", "EventBusName": unique}
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/{unique}"
    resource, arguments = "arn:aws:states:::events:putEvents", {"Entries": [entry]}
    other = make_role(
        allow("events:PutEvents", resource=bus, StringEquals={"events:source": "mlops.pricing"}), service=STATES
    )
    assert f"events:PutEvents on resource: {bus}" in run_machine(other, resource, arguments)["cause"]
    own = make_role(
        allow("events:PutEvents", resource=bus, StringEquals={"events:source": "mlops.demand"}), service=STATES
    )
    assert run_machine(own, resource, arguments)["status"] == "SUCCEEDED"
