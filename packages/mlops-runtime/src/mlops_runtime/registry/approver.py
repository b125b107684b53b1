"""Adapter: approves and rejects in an approver's role, as a person does with ``mlops models approve``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from mlops_runtime.registry.review import approval_requests, rejection_request

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sts import STSClient

# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_NOT_IN_SESSION_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Somebody whose approvals count.

    Args:
        sagemaker: Client with the credentials of an approver's role.
        identity: Whom SageMaker will name as who changed the package.
    """

    sagemaker: "SageMakerClient"
    identity: str

    @classmethod
    def in_role(cls, *, sts: "STSClient", sagemaker: "SageMakerClient", role: str, caller: str) -> "Approver":
        """Take a role; the session is named after the caller, so that the record says which person it was.

        Args:
            sts: Client of the caller.
            sagemaker: Client of the caller; region and endpoint are taken from it.
            role: ARN of the role.
            caller: ARN of the caller.
        """
        answer = sts.assume_role(RoleArn=role, RoleSessionName=session_name(caller))
        keys = answer["Credentials"]
        acting = boto3.client(
            "sagemaker",
            region_name=sagemaker.meta.region_name,
            endpoint_url=sagemaker.meta.endpoint_url,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        return cls(sagemaker=acting, identity=answer["AssumedRoleUser"]["Arn"])

    def approve(self, description: Mapping[str, Any], *, reason: str) -> str:
        """Approve a package as it is described, and return the description that its approval carries.

        Args:
            description: DescribeModelPackage's answer, as the person saw it.
            reason: Why.

        Raises:
            ValueError: If the reason is not allowed.
        """
        requests = approval_requests(description, reason=reason)
        for request in requests:
            self.sagemaker.update_model_package(**request)
        return str(requests[-1]["ApprovalDescription"])

    def reject(self, description: Mapping[str, Any], *, reason: str) -> str:
        """Reject a package, and return the description that its rejection carries.

        Args:
            description: DescribeModelPackage's answer.
            reason: Why.

        Raises:
            ValueError: If the reason is not allowed.
        """
        request = rejection_request(description, reason=reason)
        self.sagemaker.update_model_package(**request)
        return str(request["ApprovalDescription"])


def session_name(caller: str) -> str:
    """Return a session name that says who the caller is.

    Example:
        >>> session_name("arn:aws:sts::123456789012:assumed-role/Engineer/ann@example.com")
        'ann@example.com'
        >>> session_name("arn:aws:iam::123456789012:root")
        'root'
    """
    name = _NOT_IN_SESSION_NAME.sub("-", caller.rpartition(":")[2].rpartition("/")[2])[:64]
    return name if len(name) > 1 else f"{name}-person"
