"""IAM in front of every call: permissions of roles, and AWS's denial messages.

Callers of encrypted resources need the key, through the service that uses it.
"""

import json

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
SAGEMAKER = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"


def test_a_denial_names_principal_action_and_resource(make_role, acting_as):
    """AWS's wording: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html."""
    role = make_role()
    with pytest.raises(ClientError) as error:
        acting_as(role)("sagemaker").describe_endpoint(EndpointName="demand-forecast")
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert error.value.response["Error"]["Message"] == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/tester is not authorized to perform: "
        f"sagemaker:DescribeEndpoint on resource: {SAGEMAKER}:endpoint/demand-forecast because no identity-based policy "
        "allows the sagemaker:DescribeEndpoint action"
    )


def test_a_role_is_passed_only_to_the_service_that_the_statement_names(make_role, acting_as, allow, unique):
    """Making a model needs iam:PassRole on its execution role, with iam:PassedToService sagemaker."""
    execution = make_role(service="sagemaker.amazonaws.com")
    create = allow("sagemaker:CreateModel", resource=f"{SAGEMAKER}:model/*")
    arguments = {"ModelName": unique, "ExecutionRoleArn": execution, "PrimaryContainer": {"Image": IMAGE}}
    for statements in ([], [allow("iam:PassRole", StringEquals={"iam:PassedToService": "lambda.amazonaws.com"})]):
        with pytest.raises(ClientError, match=f"perform: iam:PassRole on resource: {execution} because"):
            acting_as(make_role(create, *statements))("sagemaker").create_model(**arguments)
    passes = allow("iam:PassRole", resource=execution, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    made = acting_as(make_role(create, passes))("sagemaker").create_model(**arguments)
    assert made["ModelArn"] == f"{SAGEMAKER}:model/{unique}"


def test_sagemaker_condition_keys_are_those_of_the_request(make_role, acting_as, allow, unique):
    """A role that may only make isolated models cannot make another one."""
    execution = make_role(service="sagemaker.amazonaws.com")
    role = make_role(
        allow("sagemaker:CreateModel", Bool={"sagemaker:NetworkIsolation": "true"}),
        allow("iam:PassRole", resource=execution),
    )
    client = acting_as(role)("sagemaker")
    arguments = {"ModelName": unique, "ExecutionRoleArn": execution, "PrimaryContainer": {"Image": IMAGE}}
    with pytest.raises(ClientError, match="sagemaker:CreateModel on resource"):
        client.create_model(**arguments)
    client.create_model(**arguments, EnableNetworkIsolation=True)


def test_what_a_model_is_asked_sets_no_condition_key(cloud, make_role, acting_as, allow, unique):
    """A payload with another call's members changes no condition key, because it belongs to the model.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    spoofed = json.dumps({"TargetModel": "mine", "StoppingCondition": "text", "instances": []})
    keys = {"StringEquals": {"sagemaker:TargetModel": "mine"}}
    role = make_role(allow("sagemaker:InvokeEndpoint", **keys))
    with pytest.raises(ClientError, match="sagemaker:InvokeEndpoint on resource"):
        acting_as(role)("sagemaker-runtime").invoke_endpoint(EndpointName=unique, Body=spoofed)
    allowed = acting_as(make_role(allow("sagemaker:InvokeEndpoint")))("sagemaker-runtime")
    with pytest.raises(ClientError, match=f"Endpoint {unique} of account {ACCOUNT} not found"):
        allowed.invoke_endpoint(EndpointName=unique, Body=spoofed)


def test_a_caller_puts_events_in_its_own_name_alone(make_role, acting_as, allow):
    """`${aws:userid}` stands for the caller's id: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html."""
    role = make_role(allow("events:PutEvents", StringEquals={"events:source": "mlops.demand/${aws:userid}"}))
    client, user = acting_as(role), acting_as(role)("sts").get_caller_identity()["UserId"]
    other = acting_as(make_role())("sts").get_caller_identity()["UserId"]
    entry = {"DetailType": "x", "Detail": "{}"}
    client("events").put_events(Entries=[{**entry, "Source": f"mlops.demand/{user}"}])
    for source in ("mlops.demand", f"mlops.demand/{other}", "mlops.demand/${aws:userid}", f"mlops.pricing/{user}"):
        with pytest.raises(ClientError, match="perform: events:PutEvents"):
            client("events").put_events(Entries=[{**entry, "Source": source}])
        with pytest.raises(ClientError, match="perform: events:PutEvents"):
            entries = [{**entry, "Source": each} for each in (f"mlops.demand/{user}", source)]
            client("events").put_events(Entries=entries)
    unknown = make_role(allow("events:PutEvents", StringEquals={"events:source": "mlops.demand/${aws:username}"}))
    with pytest.raises(ClientError, match="perform: events:PutEvents"):
        acting_as(unknown)("events").put_events(Entries=[{**entry, "Source": "mlops.demand/${aws:username}"}])


def test_metrics_go_to_the_namespace_that_the_statement_names(make_role, acting_as, allow):
    """`cloudwatch:namespace` is the request's."""
    role = make_role(allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": "MLOps/demand"}))
    client = acting_as(role)("cloudwatch")
    client.put_metric_data(Namespace="MLOps/demand", MetricData=[{"MetricName": "m", "Value": 1}])
    with pytest.raises(ClientError, match="cloudwatch:PutMetricData"):
        client.put_metric_data(Namespace="MLOps/pricing", MetricData=[{"MetricName": "m", "Value": 1}])


def test_items_are_those_of_the_leading_keys(cloud, make_role, acting_as, allow, unique):
    """`dynamodb:LeadingKeys` is the partition key's value, whatever the key's name."""
    cloud.client("dynamodb").create_table(
        TableName=unique, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
    )  # fmt: skip
    keys = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["mine"]}}
    client = acting_as(make_role(allow("dynamodb:PutItem", **keys)))("dynamodb")
    client.put_item(TableName=unique, Item={"a": {"S": "x"}, "endpoint": {"S": "mine"}})
    with pytest.raises(
        ClientError, match=f"dynamodb:PutItem on resource: arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{unique}"
    ):
        client.put_item(TableName=unique, Item={"a": {"S": "mine"}, "endpoint": {"S": "other"}})


def test_a_run_is_read_by_who_may_read_its_job(cloud, make_role, acting_as, allow, unique):
    """Only of its own job, and without permission to start one."""
    glue = cloud.client("glue")
    for name in (unique, f"{unique}-2"):
        glue.create_job(Name=name, Role="none", Command={"Name": "glueetl", "ScriptLocation": "s3://none/none.py"})
    job = f"arn:aws:glue:us-east-1:{ACCOUNT}:job/{unique}"
    client = acting_as(make_role(allow("glue:GetJobRun", resource=job)))("glue")
    with pytest.raises(client.exceptions.EntityNotFoundException):
        client.get_job_run(JobName=unique, RunId="none")
    with pytest.raises(ClientError, match=f"glue:GetJobRun on resource: {job}-2"):
        client.get_job_run(JobName=f"{unique}-2", RunId="none")
    with pytest.raises(ClientError, match=f"glue:StartJobRun on resource: {job}"):
        client.start_job_run(JobName=unique)


def test_a_key_policy_can_keep_the_account_out(cloud, make_role, acting_as, allow):
    """Without the account in the key policy an identity policy is not enough."""
    kms = cloud.client("kms")
    owner = {"Effect": "Allow", "Principal": {"AWS": make_role()}, "Action": "kms:*", "Resource": "*"}
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [owner]}))["KeyMetadata"]["Arn"]
    with pytest.raises(ClientError, match="kms:Encrypt"):
        acting_as(make_role(allow("kms:Encrypt", resource=key)))("kms").encrypt(KeyId=key, Plaintext=b"x")


def test_loopback_counts_as_secure_transport(cloud, make_role, acting_as, allow, unique):
    """A bucket that denies plain HTTP works on 127.0.0.1."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{unique}/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}}}  # fmt: skip
    s3.put_bucket_policy(Bucket=unique, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    acting_as(make_role(allow("s3:PutObject")))("s3").put_object(Bucket=unique, Key="k", Body=b"1")


def test_a_table_needs_its_database_and_the_catalog(cloud, make_role, acting_as, allow, unique):
    """A role with the table alone cannot read it."""
    glue = cloud.client("glue")
    glue.create_database(DatabaseInput={"Name": unique})
    glue.create_table(DatabaseName=unique, TableInput={"Name": "t"})
    prefix = f"arn:aws:glue:us-east-1:{ACCOUNT}"
    table = f"{prefix}:table/{unique}/t"
    with pytest.raises(ClientError, match=f"glue:GetTable on resource: {prefix}:database/{unique} because"):
        acting_as(make_role(allow("glue:GetTable", resource=table)))("glue").get_table(DatabaseName=unique, Name="t")
    all_three = allow("glue:GetTable", resource=[table, f"{prefix}:database/{unique}", f"{prefix}:catalog"])
    assert acting_as(make_role(all_three))("glue").get_table(DatabaseName=unique, Name="t")["Table"]["Name"] == "t"


def test_what_roles_were_asked_is_written_down(cloud, make_role, acting_as, allow):
    """The journal has each authorization once, under the role's ARN, as proof of least privilege."""
    role = make_role(allow("cloudwatch:PutMetricData"))
    for _ in range(2):
        acting_as(role)("cloudwatch").put_metric_data(Namespace="Journal", MetricData=[{"MetricName": "m", "Value": 1}])
    rows = [json.loads(line) for line in (cloud.home / "state" / "iam.jsonl").read_text().splitlines()]
    assert [row for row in rows if row["principal"] == role] == [
        {
            "principal": role, "action": "cloudwatch:PutMetricData", "resource": "*", "allowed": True,
            "context": {"cloudwatch:namespace": "Journal"},
        }
    ]  # fmt: skip


def test_only_who_may_set_approved_does(cloud, make_role, acting_as, allow, unique):
    """`sagemaker:ModelApprovalStatus` is the requested status, at creation and at an update.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=unique)
    pending = {"StringEqualsIfExists": {"sagemaker:ModelApprovalStatus": ["PendingManualApproval", "Rejected"]}}
    repository = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/mlops-runtime"
    registers = allow("sagemaker:CreateModelPackage", "sagemaker:UpdateModelPackage", **pending)
    reads = allow("ecr:BatchGetImage", "ecr:DescribeImages", resource=repository)
    registrar = acting_as(make_role(registers, reads))("sagemaker")
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64
    request = {"ModelPackageGroupName": unique, "InferenceSpecification": {
        "Containers": [{"Image": image}], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
    }}  # fmt: skip
    arn = registrar.create_model_package(**request, ModelApprovalStatus="PendingManualApproval")["ModelPackageArn"]
    registrar.update_model_package(ModelPackageArn=arn, CustomerMetadataProperties={"a": "b"})
    with pytest.raises(ClientError, match="sagemaker:UpdateModelPackage"):
        registrar.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    with pytest.raises(ClientError, match="sagemaker:CreateModelPackage"):
        registrar.create_model_package(**request, ModelApprovalStatus="Approved")
    assert sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] == "PendingManualApproval"


def test_an_update_may_be_kept_from_a_key_of_the_metadata(cloud, make_role, acting_as, allow, unique):
    """An approver can be denied changes of the hash of an approved package.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=unique)
    arn = sagemaker.create_model_package(ModelPackageGroupName=unique)["ModelPackageArn"]
    absent = {"Null": {"sagemaker:CustomerMetadataProperties/container_sha256": "true"}}
    approver = acting_as(make_role(allow("sagemaker:UpdateModelPackage", **absent)))("sagemaker")

    with pytest.raises(ClientError, match="sagemaker:UpdateModelPackage"):
        approver.update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"container_sha256": "0" * 64},
        )
    approver.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")


def test_registering_asks_for_image_and_artifact_with_the_callers_rights(cloud, make_role, acting_as, allow, unique):
    """Registering requires access to the image's repository, the model's archive and the archive's key.

    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSageMakerModelRegistryFullAccess.html
    """
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=unique)
    s3, key = cloud.client("s3"), cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="m/model.tar.gz", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    repository = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/mlops-runtime"
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64
    container = {"Image": image, "ModelDataUrl": f"s3://{unique}/m/model.tar.gz"}
    request = {"ModelPackageGroupName": unique, "InferenceSpecification": {
        "Containers": [container], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
    }}  # fmt: skip
    rights = [
        ("sagemaker:CreateModelPackage", "*"),
        ("ecr:BatchGetImage", repository),
        ("ecr:DescribeImages", repository),
        ("s3:GetObject", f"arn:aws:s3:::{unique}/m/*"),
        ("kms:Decrypt", key),
    ]
    for missing, _ in rights[1:]:
        role = make_role(*(allow(action, resource=on) for action, on in rights if action != missing))
        with pytest.raises(ClientError, match=f"ValidationException.*{missing}"):
            acting_as(role)("sagemaker").create_model_package(**request)
    role = make_role(*(allow(action, resource=on) for action, on in rights))
    assert acting_as(role)("sagemaker").create_model_package(**request)["ModelPackageArn"].endswith(f"{unique}/1")


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "resource"),
    [
        ("ssm", "get_parameter", {"Name": "/mlops/x"}, f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/mlops/x"),
        (
            "ssm",
            "put_parameter",
            {"Name": "/mlops/x", "Value": "1"},
            f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/mlops/x",
        ),
        (
            "cloudwatch",
            "set_alarm_state",
            {"AlarmName": "a", "StateValue": "OK", "StateReason": "-"},
            f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:a",
        ),
    ],
)
def test_asks_for_the_resource_of_a_call(cloud, make_role, acting_as, service, operation, arguments, resource):
    """The denial names action and resource as in AWS's reference."""
    with pytest.raises(ClientError, match=f"on resource: {resource} because"):
        getattr(acting_as(make_role())(service), operation)(**arguments)


def test_parameters_are_read_by_path(cloud, make_role, acting_as, allow, unique):
    """A path is the resource of a call that reads all parameters below it.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html
    """
    cloud.client("ssm").put_parameter(Name=f"/{unique}/a", Value="1", Type="String")
    reader = make_role(allow("ssm:GetParametersByPath", resource=f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/{unique}"))
    client = acting_as(reader)("ssm")
    found = client.get_parameters_by_path(Path=f"/{unique}")["Parameters"]
    assert [row["Value"] for row in found] == ["1"]
    with pytest.raises(ClientError, match="ssm:GetParametersByPath"):
        client.get_parameters_by_path(Path="/elsewhere")


def _policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_key_knows_who_may_sign_by_the_tag_of_the_role(cloud, make_role, acting_as, allow):
    """An asymmetric key whose policy denies roles without the tag: tag and role policy together allow signing.

    https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
    """
    tag, root = {"aws:PrincipalTag/mlops:recorder": "demand"}, f"arn:aws:iam::{ACCOUNT}:root"
    statement = {"Effect": "Allow", "Principal": {"AWS": root}, "Resource": "*"}
    policy = _policy(
        {**statement, "Action": ["kms:GetPublicKey", "kms:PutKeyPolicy"]},
        {**statement, "Action": "kms:Sign", "Condition": {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256"}}},
        {**statement, "Action": "kms:Sign", "Effect": "Deny", "Principal": "*", "Condition": {"StringNotEquals": tag}},
    )
    made = cloud.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Policy=policy)
    key, signs = made["KeyMetadata"]["Arn"], allow("kms:Sign")
    recorder, other, reader = make_role(signs), make_role(signs), make_role(allow("kms:GetPublicKey"))
    for role, value in ((recorder, "demand"), (reader, "demand"), (other, "stores")):
        cloud.client("iam").tag_role(RoleName=role.rpartition("/")[2], Tags=[{"Key": "mlops:recorder", "Value": value}])
    message = {"KeyId": key, "Message": b"record", "MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"}

    signed = acting_as(recorder)("kms").sign(**message)

    assert cloud.client("kms").verify(**message, Signature=signed["Signature"])["SignatureValid"]
    for role in (other, make_role(signs), reader):
        with pytest.raises(ClientError, match="kms:Sign"):
            acting_as(role)("kms").sign(**message)


def test_a_bucket_whose_policy_asks_for_it_takes_new_objects_alone(cloud, make_role, acting_as, allow, unique):
    """No object is written over: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{unique}/*"}
    s3.put_bucket_policy(
        Bucket=unique, Policy=_policy({**statement, "Condition": {"Null": {"s3:if-none-match": "true"}}})
    )
    writer = acting_as(make_role(allow("s3:PutObject")))("s3")

    writer.put_object(Bucket=unique, Key="head", Body=b"1", IfNoneMatch="*")

    with pytest.raises(ClientError, match="PreconditionFailed"):
        writer.put_object(Bucket=unique, Key="head", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.put_object(Bucket=unique, Key="head", Body=b"2")
    assert s3.get_object(Bucket=unique, Key="head")["Body"].read() == b"1"


@pytest.fixture
def encrypted_bucket(cloud, unique):
    """A bucket with a key of its own, and the key's ARN."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_bucket_encryption(Bucket=unique, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return unique, key


def test_an_encrypted_bucket_needs_its_key_through_s3(encrypted_bucket, make_role, acting_as, allow):
    """S3 calls kms:GenerateDataKey for writes and kms:Decrypt for reads, on behalf of the role."""
    bucket, key = encrypted_bucket
    objects = allow("s3:PutObject", "s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    with pytest.raises(ClientError, match=f"perform: kms:GenerateDataKey on resource: {key} because"):
        acting_as(make_role(objects))("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    context = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com",
                                "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}"}}  # fmt: skip
    clients = acting_as(make_role(objects, allow("kms:GenerateDataKey", resource=key, **context)))
    clients("s3").put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(ClientError, match="kms:Decrypt"):
        clients("s3").get_object(Bucket=bucket, Key="k")
    reader = acting_as(make_role(objects, allow("kms:Decrypt", resource=key, **context)))
    assert reader("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):  # the same key, not through S3
        clients("kms").generate_data_key(KeyId=key, KeySpec="AES_256")


def test_a_keys_tags_decide_who_uses_it(cloud, encrypted_bucket, make_role, acting_as, allow):
    """`aws:ResourceTag` is the key's: https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html."""
    bucket, key = encrypted_bucket
    uses = allow("s3:PutObject", "kms:GenerateDataKey")
    denied = {
        "Effect": "Deny",
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {
            "Null": {"aws:ResourceTag/mlops:unit": "false"},
            "StringNotEquals": {"aws:ResourceTag/mlops:unit": "demand"},
        },
    }
    client = acting_as(make_role(uses, denied))("s3")
    client.put_object(Bucket=bucket, Key="k", Body=b"1")
    cloud.client("kms").tag_resource(KeyId=key, Tags=[{"TagKey": "mlops:unit", "TagValue": "pricing"}])
    with pytest.raises(ClientError, match=f"kms:GenerateDataKey on resource: {key} with an explicit deny"):
        client.put_object(Bucket=bucket, Key="k", Body=b"1")
    cloud.client("kms").tag_resource(KeyId=key, Tags=[{"TagKey": "mlops:unit", "TagValue": "demand"}])
    client.put_object(Bucket=bucket, Key="k", Body=b"1")


def test_an_encrypted_queue_needs_its_key(cloud, make_role, acting_as, allow, unique):
    """Sending requires kms:GenerateDataKey and kms:Decrypt, as listed by SQS's key management page."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    url = cloud.client("sqs").create_queue(QueueName=unique, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    sends = allow("sqs:SendMessage", resource=arn)
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        acting_as(make_role(sends))("sqs").send_message(QueueUrl=url, MessageBody="x")
    keys = allow(
        "kms:GenerateDataKey",
        "kms:Decrypt",
        resource=key,
        StringEquals={"kms:ViaService": "sqs.us-east-1.amazonaws.com"},
    )
    acting_as(make_role(sends, keys))("sqs").send_message(QueueUrl=url, MessageBody="x")
