"""Packages of a group with their evidence, read from SageMaker and S3; approvals and rejections in an approver's role."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import Evaluation, GateResult
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.package_approval import approval_requests, rejection_request

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef
    from mypy_boto3_sts import STSClient

T = TypeVar("T")

_EVALUATION = re.compile(r"(s3://[^/]+)/evaluations/([^/]+/[^/]+)/evaluation\.json")

# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_NOT_IN_SESSION_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)

MOST_PACKAGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The gate's result and evaluation that a package's metadata refer to; ``problems`` are unreadable or changed objects."""

    gate: GateResult | None = None
    evaluation: Evaluation | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Read access to the registry."""

    sagemaker: "SageMakerClient"
    s3: "S3Client"

    def newest(self, group: str, count: int) -> "list[DescribeModelPackageOutputTypeDef]":
        """Return the descriptions of the newest packages of a group, the newest first."""
        return [self.describe(arn) for arn in _newest(self.sagemaker, group, count)]

    def describe(self, arn: str) -> "DescribeModelPackageOutputTypeDef":
        """Return the response of DescribeModelPackage."""
        return self.sagemaker.describe_model_package(ModelPackageName=arn)

    def evidence(self, description: Mapping[str, Any]) -> Evidence:
        """Return the gate's result and the evaluation of a package, after comparing them with the registered hashes."""
        metadata: Mapping[str, str] = description.get("CustomerMetadataProperties", {})
        problems: list[str] = []
        evaluation_uri = metadata.get("evaluation_uri")
        content = self._read("evaluation", evaluation_uri, problems)
        gate_content = self._read("gate's result", gate_uri(evaluation_uri), problems)
        evaluation = _parsed(Evaluation, "evaluation", content, problems)
        gate = _parsed(GateResult, "gate's result", gate_content, problems)
        if content is not None:
            found = hashlib.sha256(content).hexdigest()
            registered = metadata.get("evaluation_sha256")
            if registered is not None and registered != found:
                problems.append(f"the evaluation {evaluation_uri} has SHA-256 {found}, but {registered} is registered")
            if gate is not None and gate.evaluation_sha256 != found:
                problems.append(
                    f"the gate's decision is about an evaluation with SHA-256 {gate.evaluation_sha256}, but {evaluation_uri} "
                    f"has {found}"
                )
        return Evidence(gate=gate, evaluation=evaluation, problems=tuple(problems))

    def _read(self, what: str, uri: str | None, problems: list[str]) -> bytes | None:
        if uri is None:
            problems.append(f"the package does not name its {what}")
            return None
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            problems.append(f"the {what} {uri} cannot be read: {error.response['Error']['Code']}")
            return None


def approval_of(sagemaker: "SageMakerClient", arn: str) -> str | None:
    """Return the approval status of a package; None if the registry does not have it."""
    try:
        return sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException" and "does not exist" in str(error):
            return None
        raise


def gate_uri(evaluation_uri: str | None) -> str | None:
    """Return the URI of the gate's result for an evaluation; ``None`` if the evaluation is not below a pipeline's prefix.

    Example:
        >>> gate_uri("s3://artifacts/evaluations/demand-forecast/alarm-1/evaluation.json")
        's3://artifacts/gates/demand-forecast/alarm-1.json'
    """
    match = None if evaluation_uri is None else _EVALUATION.fullmatch(evaluation_uri)
    return None if match is None else f"{match[1]}/gates/{match[2]}.json"


def _parsed(kind: type[T], what: str, content: bytes | None, problems: list[str]) -> T | None:
    if content is None:
        return None
    try:
        return from_json(kind, content)
    except ContractError as error:
        problems.append(f"the {what} is not a valid {kind.__name__}: {error}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """An approver whose approvals are valid.

    Args:
        sagemaker: Client with the credentials of an approver's role.
        identity: ARN that SageMaker will record as the author of a change.
    """

    sagemaker: "SageMakerClient"
    identity: str

    @classmethod
    def in_role(cls, *, sts: "STSClient", sagemaker: "SageMakerClient", role: str, caller: str) -> "Approver":
        """Assume a role; the session is named after the caller, so that the record identifies the person.

        Args:
            sts: Client of the caller.
            sagemaker: Client of the caller, for region and endpoint.
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
        """Approve a package in its described state, and return the approval description.

        Raises:
            ValueError: If the reason is not allowed.
        """
        requests = approval_requests(description, reason=reason)
        for request in requests:
            self.sagemaker.update_model_package(**request)
        return str(requests[-1]["ApprovalDescription"])

    def reject(self, description: Mapping[str, Any], *, reason: str) -> str:
        """Reject a package, and return the approval description of the rejection.

        Raises:
            ValueError: If the reason is not allowed.
        """
        request = rejection_request(description, reason=reason)
        self.sagemaker.update_model_package(**request)
        return str(request["ApprovalDescription"])


def session_name(caller: str) -> str:
    """Return a session name that identifies the caller.

    Example:
        >>> session_name("arn:aws:sts::123456789012:assumed-role/Engineer/ann@example.com")
        'ann@example.com'
        >>> session_name("arn:aws:iam::123456789012:root")
        'root'
    """
    name = _NOT_IN_SESSION_NAME.sub("-", caller.rpartition(":")[2].rpartition("/")[2])[:64]
    return name if len(name) > 1 else f"{name}-person"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPackage:
    """A model package and the id of the training set that it was trained from; ``version`` is ``<group>/<number>``."""

    version: str
    approval: str
    training_set_id: str


def trained_packages(
    sagemaker: "SageMakerClient",
    groups: Iterable[str],
    *,
    approval: "ModelApprovalStatusType | None" = None,
    most: int = MOST_PACKAGES,
) -> tuple[TrainedPackage, ...]:
    """Return the packages with a known training set, the newest of each group first.

    Args:
        sagemaker: Client.
        groups: Names of model package groups.
        approval: Only packages with this status. Default: all.
        most: Maximum number of packages of a group; each needs a call. Default: 1000.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModelPackages.html
    """
    found = []
    for group in dict.fromkeys(groups):
        for arn in _newest(sagemaker, group, most, **({} if approval is None else {"ModelApprovalStatus": approval})):
            # the summary has no metadata
            description = sagemaker.describe_model_package(ModelPackageName=arn)
            training_set_id = description.get("CustomerMetadataProperties", {}).get("training_set_id")
            if training_set_id:
                found.append(
                    TrainedPackage(
                        version=version_of(description["ModelPackageArn"]),
                        approval=description["ModelApprovalStatus"],
                        training_set_id=training_set_id,
                    )
                )
    return tuple(found)


def training_sets_in_use(sagemaker: "SageMakerClient", groups: Iterable[str]) -> frozenset[str]:
    """Return the ids of the training sets of approved packages, which are live or may become live by a rollback.

    A package that was rejected after its promotion is live until it is replaced: the endpoint's live pointer refers to its set.
    """
    packages = trained_packages(sagemaker, groups, approval="Approved")
    return frozenset(package.training_set_id for package in packages)


def _newest(sagemaker: "SageMakerClient", group: str, most: int, **chosen: Any) -> Iterator[str]:
    """Yield the ARNs of a group's newest packages."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group,
        ModelPackageType="Versioned",
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"MaxItems": most},
        **chosen,
    )
    for page in pages:
        yield from (summary["ModelPackageArn"] for summary in page["ModelPackageSummaryList"])
