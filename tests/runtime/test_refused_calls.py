"""Errors of AWS calls: suppression by code, and the message in one line."""

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated, refusal


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("ExpiredToken", "; the credentials have expired: sign in again"),
        ("AccessDeniedException", "; docs/operations.md lists the permissions of each command"),
        ("ValidationException", ""),
    ],
)
def test_the_fix_stands_beside_what_was_answered(code: str, fix: str) -> None:
    """Where one is known; line breaks of the answer are gone."""
    assert (
        refusal({"Code": code, "Message": "no,\n not so"}, "GetItem")
        == f"AWS refused GetItem ({code}): no, not so{fix}"
    )


def test_keys_of_another_account_name_the_variables() -> None:
    """An embedded cloud that has ended leaves them behind."""
    assert "unset AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in refusal({"Code": "InvalidClientTokenId"}, "GetItem")


@pytest.mark.parametrize("code", CONDITION_FAILED)
def test_codes_are_tolerated(code: str) -> None:
    """The block ends, and what follows it runs."""
    with Tolerated(*CONDITION_FAILED):
        raise ClientError({"Error": {"Code": code}}, "PutObject")


@pytest.mark.parametrize(
    "error", [ClientError({"Error": {"Code": "NoSuchBucket"}}, "GetObject"), KeyError("NoSuchKey")], ids=type
)
def test_other_errors_are_raised(error: Exception) -> None:
    """Other codes, and errors that are not AWS's."""
    with pytest.raises(type(error)), Tolerated("NoSuchKey"):
        raise error
