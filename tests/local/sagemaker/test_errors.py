"""The errors of the service."""

import pytest

from mlops_local.sagemaker import errors
from mlops_local.sagemaker.errors import ServiceError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.validation("m"), "ValidationException"),
        (errors.conflict("m"), "ConflictException"),
    ],
)
def test_errors_carry_code_message_and_status(error: ServiceError, code: str) -> None:
    """Client errors of the service are 400 and say what they say."""
    assert (error.code, error.message, str(error), error.status, error.fields) == (code, "m", "m", 400, {})
