"""Checks against the AWS API models in botocore, without a client or network access."""

from mlops_runtime.aws_api.api_request import (
    Finding,
    InvalidRequestError,
    Severity,
    UnknownOperationError,
    check_request,
    input_shape,
    operation_name,
    require_valid_request,
)
from mlops_runtime.aws_api.machine_calls import MachineFinding, check_machine
from mlops_runtime.aws_api.optimized_tasks import (
    UnsupportedField,
    optimized_fields,
    unsupported_fields,
    unsupported_of_task,
)
from mlops_runtime.aws_api.service_models import UnknownServiceError

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
