"""Requests and results of S3 tasks."""

import base64
import hashlib
import json

import pytest

from mlops_local.state_machines import s3_tasks

STATES = "states.amazonaws.com"
COPY = "arn:aws:states:::aws-sdk:s3:copyObject"


@pytest.fixture
def role(make_role, allow):
    """A role that may use every bucket."""
    return make_role(allow("s3:*"), service=STATES)


def test_a_copy_answers_with_its_result_and_checksum(cloud, run_machine, role, unique):
    """Every field of the request reaches S3; the response body is below the payload's name.

    botocore: s3 2006-03-01 CopyObjectRequest, CopyObjectOutput
    """
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="a b/ü", Body=b"one", Metadata={"shardCount": "3"})
    arguments = {
        "Bucket": unique, "Key": "copied", "CopySource": f"{unique}/a%20b/%C3%BC", "ChecksumAlgorithm": "SHA256",
        "IfNoneMatch": "*",
    }  # fmt: skip
    done = run_machine(role, COPY, arguments)
    assert done["status"] == "SUCCEEDED", done
    result = json.loads(done["output"])["CopyObjectResult"]
    assert result["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    assert result["ChecksumType"] == "FULL_OBJECT"
    assert result["ETag"] == s3.head_object(Bucket=unique, Key="copied")["ETag"]
    again = run_machine(role, COPY, arguments)
    assert (again["status"], again["error"]) == ("FAILED", "S3.S3Exception")
    assert "Status Code: 412" in again["cause"]
    head = run_machine(role, COPY.replace("copyObject", "headObject"), {"Bucket": unique, "Key": "copied"})
    assert json.loads(head["output"])["Metadata"] == {"shardcount": "3"}


def test_a_bucket_of_another_region_fails_the_task(cloud, run_machine, role, unique):
    """The SDK does not follow S3's redirect: the tutorial catches S3.S3Exception.

    https://docs.aws.amazon.com/step-functions/latest/dg/tutorial-gather-s3-bucket-info-using-aws-sdk-service-integrations.html
    """
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="a", Body=b"one")
    s3.create_bucket(Bucket=f"{unique}-far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    arguments = {"Bucket": f"{unique}-far", "Key": "copied", "CopySource": f"{unique}/a"}
    for failed in (
        run_machine(role, COPY, arguments),
        run_machine(role, COPY.replace("copyObject", "headBucket"), {"Bucket": f"{unique}-far"}),
    ):
        assert (failed["status"], failed["error"]) == ("FAILED", "S3.S3Exception")
        assert "Status Code: 301" in failed["cause"]


@pytest.mark.parametrize(
    ("call", "arguments", "error", "words"),
    [
        ("getBucketVersioning", {"Bucket": "mlops-none"}, "S3.NoSuchBucketException", "Status Code: 404"),
        (
            "copyObject",
            {"Bucket": "mlops-none", "Key": "a", "Colour": "red"},
            "States.Runtime",
            "does not support field Colour",
        ),
        ("getObject", {"Bucket": "mlops-none", "Key": "a"}, "States.Runtime", "streams"),
    ],
)
def test_errors_have_the_names_of_s3s_model(run_machine, role, call, arguments, error, words):
    """A field outside the model fails by name before S3 is called."""
    failed = run_machine(role, f"arn:aws:states:::aws-sdk:s3:{call}", arguments)
    assert (failed["status"], failed["error"]) == ("FAILED", error)
    assert words in failed["cause"]


def test_names_are_those_of_the_sdk_for_java():
    """https://sdk.amazonaws.com/java/api/latest/software/amazon/awssdk/services/s3/model/CopyObjectResponse.html."""
    names = ("SSEKMSKeyId", "SSECustomerKeyMD5", "ETag", "ACL", "VersionId", "ChecksumCRC32C")
    java = ["SsekmsKeyId", "SseCustomerKeyMD5", "ETag", "Acl", "VersionId", "ChecksumCRC32C"]
    assert [s3_tasks._java_name(name) for name in names] == java
