"""What SageMaker's errors mean."""

from botocore.exceptions import ClientError

_MISSING = ("could not find", "does not exist", "not found")


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker says that the named thing does not exist; it has no error code of its own for that.

    Args:
        error: The error.
    """
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code == "ResourceNotFound" or (
        code.startswith("Validation") and any(words in message.lower() for words in _MISSING)
    )
