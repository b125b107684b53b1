"""Starts executions under deterministic names: starting one twice is starting it once."""

import hashlib
import logging
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployRequest

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)


def execution_arn(machine_arn: str, name: str) -> str:
    """Return the ARN that an execution of a name has.

    Example:
        >>> execution_arn("arn:aws:states:us-east-1:123456789012:stateMachine:Deploy", "one")
        'arn:aws:states:us-east-1:123456789012:execution:Deploy:one'
    """
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def short_hash(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text in a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_deploy(stepfunctions: "SFNClient", machine_arn: str, name: str, request: DeployRequest) -> str:
    """Start the Deploy machine; an execution of that name that is there already is success.

    See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

    Returns:
        The execution's ARN.
    """
    try:
        stepfunctions.start_execution(stateMachineArn=machine_arn, name=name, input=canonical_json(request).decode())
    except stepfunctions.exceptions.ExecutionAlreadyExists:
        logger.info("execution %s is already there", name)
    return execution_arn(machine_arn, name)
