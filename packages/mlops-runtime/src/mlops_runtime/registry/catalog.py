"""Adapter: packages of a group, and the evidence that belongs to one, read at SageMaker and S3."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import Evaluation, GateResult

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

T = TypeVar("T")

_EVALUATION = re.compile(r"(s3://[^/]+)/evaluations/([^/]+/[^/]+)/evaluation\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a package's metadata point to. ``problems`` say what could not be read, or is not what was registered."""

    gate: GateResult | None = None
    evaluation: Evaluation | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The registry as a person reads it.

    Args:
        sagemaker: Client.
        s3: Client.
    """

    sagemaker: "SageMakerClient"
    s3: "S3Client"

    def newest(self, group: str, count: int) -> list[dict[str, Any]]:
        """Return the descriptions of the newest packages of a group, the newest first.

        Args:
            group: Name of the group.
            count: How many at most.
        """
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group,
            ModelPackageType="Versioned",
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"MaxItems": count},
        )
        arns = [summary["ModelPackageArn"] for page in pages for summary in page["ModelPackageSummaryList"]]
        return [self.describe(arn) for arn in arns]

    def describe(self, arn: str) -> dict[str, Any]:
        """Return DescribeModelPackage's answer."""
        return dict(self.sagemaker.describe_model_package(ModelPackageName=arn))

    def evidence(self, description: Mapping[str, Any]) -> Evidence:
        """Return the gate's result and the evaluation of a package, compared with the hashes that were registered.

        Args:
            description: DescribeModelPackage's answer.
        """
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
                problems.append(f"the evaluation {evaluation_uri} hashes to {found}, registered is {registered}")
            if gate is not None and gate.evaluation_sha256 != found:
                problems.append(
                    f"the gate judged an evaluation of {gate.evaluation_sha256}, {evaluation_uri} is {found}"
                )
        return Evidence(gate=gate, evaluation=evaluation, problems=tuple(problems))

    def _read(self, what: str, uri: str | None, problems: list[str]) -> bytes | None:
        if uri is None:
            problems.append(f"the package does not say where its {what} is")
            return None
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            problems.append(f"the {what} {uri} cannot be read: {error.response['Error']['Code']}")
            return None


def gate_uri(evaluation_uri: str | None) -> str | None:
    """Return where the gate that judged an evaluation wrote; ``None`` if the evaluation lies where no pipeline puts one.

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
        problems.append(f"the {what} is no {kind.__name__}: {error}")
        return None
