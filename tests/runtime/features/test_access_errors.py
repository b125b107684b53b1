"""Access errors of AWS, with the policy statement that the caller needs."""

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.features.access_errors import SourceAccessError, SourceError, allow, refusals

STATEMENT = allow(["s3:ListBucket"], "arn:aws:s3:::history")


def raised(code: str, message: str = "") -> ClientError:
    """Return an error response of AWS."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "ListObjectsV2")


def test_a_denial_names_the_statement():
    """Names the expected statement if AWS's error does not name an action."""
    with (
        pytest.raises(SourceAccessError, match=r"listing s3://history was denied: AccessDenied; .*needs \{") as caught,
        refusals("listing s3://history", STATEMENT),
    ):
        raise raised("AccessDenied")
    assert caught.value.statement == STATEMENT


def test_a_denial_names_the_action_that_aws_says():
    """Names the action in AWS's error, such as one for a KMS key that the caller did not know of."""
    message = (
        "User: arn:aws:iam::1:user/a is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/7 "
        "because no identity-based policy allows the kms:Decrypt action"
    )
    with pytest.raises(SourceAccessError) as caught, refusals("reading", STATEMENT):
        raise raised("AccessDeniedException", message)
    assert caught.value.statement == allow(["kms:Decrypt"], "arn:aws:kms:eu-west-1:1:key/7")


def test_other_refusals_say_what_was_agreed_or_stay():
    """An expected error gets its message; any other error is AWS's own."""
    with (
        pytest.raises(SourceError, match="listing: there is no bucket"),
        refusals("listing", STATEMENT, NoSuchBucket="there is no bucket"),
    ):
        raise raised("NoSuchBucket")
    with pytest.raises(ClientError), refusals("listing", STATEMENT):
        raise raised("SlowDown")
