"""AWS's API models, as botocore ships them, read as data: no client, no network."""

from mlops_runtime.aws_api.machine import MachineFinding, check_machine
from mlops_runtime.aws_api.model import UnknownOperationError, UnknownServiceError, input_shape, operation_name
from mlops_runtime.aws_api.optimized import (
    UnsupportedField,
    optimized_fields,
    unsupported_fields,
    unsupported_of_task,
)
from mlops_runtime.aws_api.request import (
    Finding,
    InvalidRequestError,
    Severity,
    check_request,
    require_valid_request,
)

__all__ = [
    "Finding",
    "InvalidRequestError",
    "MachineFinding",
    "Severity",
    "UnknownOperationError",
    "UnknownServiceError",
    "UnsupportedField",
    "check_machine",
    "check_request",
    "input_shape",
    "operation_name",
    "optimized_fields",
    "require_valid_request",
    "unsupported_fields",
    "unsupported_of_task",
]
