"""Requests for services that the embedded cloud does not have."""

import boto3
import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.egress.refusals import refusal


def _signed(service: str) -> dict[str, str]:
    return {"authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, Signature=x"}


@pytest.mark.parametrize(
    ("host", "signed_for"),
    [
        ("127.0.0.1:4566", "sqs"),
        ("queue.amazonaws.com", "sqs"),
        ("sync-states.us-east-1.amazonaws.com", "states"),
        ("data.s3.amazonaws.com", "s3"),
        ("s3.dualstack.us-east-1.amazonaws.com:443", "s3"),
    ],
)
def test_services_that_are_there(host: str, signed_for: str) -> None:
    """The host of a signed request does not matter."""
    assert refusal("POST", "/", {"host": host, **_signed(signed_for)}, "") is None


def test_a_service_that_is_not_there_is_named_with_its_host() -> None:
    """The message says that nothing left the machine."""
    expected = (
        "service 'polly' (host polly.us-east-1.amazonaws.com) is not in the embedded cloud; nothing was sent to AWS"
    )

    assert refusal("GET", "/v1/lexicons", {"host": "polly.us-east-1.amazonaws.com", **_signed("polly")}, "") == expected


def test_a_request_without_a_signature_is_not_taken_for_s3() -> None:
    """Unless its host is S3's: objects may be public, and custom resources respond by a presigned URL."""
    assert "oidc.us-east-1.amazonaws.com" in (
        refusal("POST", "/client/register", {"host": "oidc.us-east-1.amazonaws.com"}, "") or ""
    )
    assert refusal("GET", "/key", {"host": "data.s3.amazonaws.com"}, "") is None
    assert refusal("GET", "/data/key", {"host": "127.0.0.1:4566"}, "") is None


@pytest.mark.parametrize(
    ("service", "operation"),
    [("polly", "list_lexicons"), ("redshift", "describe_clusters"), ("lightsail", "get_instances")],
)
def test_sdks_show_the_refusal(cloud: Cloud, service: str, operation: str) -> None:
    """In REST-JSON, query-XML and JSON; SDKs do not retry."""
    with pytest.raises(ClientError, match=f"service '{service}' is not in the embedded cloud") as caught:
        getattr(cloud.client(service), operation)()

    assert caught.value.response["Error"]["Code"] == "NotInEmbeddedCloud"
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_boto3_is_imported_whole() -> None:
    """boto3 knows all services named above, so a renamed one fails the test."""
    assert {"polly", "redshift", "lightsail"} <= set(boto3.Session().get_available_services())


def test_a_web_identity_is_asked_for_without_a_signature(cloud: Cloud) -> None:
    """The body names the operation: STS responds, and denies a missing role."""
    client = cloud.client("sts")  # SDKs leave this operation unsigned, with keys too

    with pytest.raises(ClientError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        client.assume_role_with_web_identity(
            RoleArn="arn:aws:iam::000000000000:role/nobody", RoleSessionName="job", WebIdentityToken="a.b.c"
        )
