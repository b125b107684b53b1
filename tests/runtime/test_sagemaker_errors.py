"""What SageMaker's errors mean."""

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.sagemaker_errors import is_missing


@pytest.mark.parametrize(
    ("code", "message", "missing"),
    [
        ("ValidationException", 'Could not find endpoint "arn".', True),
        ("ValidationException", "ModelPackage arn does not exist.", True),
        ("ResourceNotFound", "", True),
        ("ValidationException", "1 validation error detected", False),
        ("AccessDeniedException", "Could not find permission", False),
        ("ThrottlingException", "", False),
    ],
)
def test_missing_is_told_from_other_errors(code: str, message: str, missing: bool) -> None:
    """SageMaker has no code of its own for it; anything else must not pass for absence."""
    error = ClientError({"Error": {"Code": code, "Message": message}}, "DescribeEndpoint")
    assert is_missing(error) is missing
