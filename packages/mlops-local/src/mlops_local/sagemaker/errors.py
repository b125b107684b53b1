"""The errors that SageMaker answers with.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html and the ``errors`` of each operation in botocore.
"""


class ServiceError(Exception):
    """An error answer of the service: its code, its message and its HTTP status.

    Args:
        code: AWS's error code, as botocore's ``Error.Code`` shows it.
        message: AWS's message.
        status: HTTP status. Default: 400, as for every client error of this service.
        fields: Further members of the error's body, such as ``OriginalStatusCode`` of ``ModelError``. Default: none.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields: dict[str, object] = {} if fields is None else fields


def validation(message: str) -> ServiceError:
    """Return SageMaker's ``ValidationException``, which no operation's model lists and every operation raises."""
    return ServiceError("ValidationException", message)


def conflict(message: str) -> ServiceError:
    """Return ``ConflictException``, with which the model registry answers."""
    return ServiceError("ConflictException", message)
