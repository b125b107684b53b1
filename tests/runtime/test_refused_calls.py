"""What AWS refuses, in one line."""

import pytest

from mlops_runtime.refused_calls import refusal


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
