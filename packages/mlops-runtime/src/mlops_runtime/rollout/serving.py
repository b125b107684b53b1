"""What SageMaker serves, read at the source: endpoint, its config, its model, the package of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.sagemaker_errors import is_missing

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: statuses in which a fleet answers
ANSWERING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A production variant of an endpoint config; a serverless one has no instances."""

    name: str
    instance_type: str
    instance_count: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An endpoint config with what it is made of; ``package`` is None for a model that no package made."""

    config: str
    variants: tuple[Variant, ...]
    model: str
    package: str | None

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Names of its variants, the main one first."""
        return tuple(variant.name for variant in self.variants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """An endpoint as SageMaker describes it; ``version`` is None where its config or model has been deleted."""

    status: str
    config: str
    version: Version | None
    failure: str = ""
    arn: str = ""

    @property
    def is_answering(self) -> bool:
        """Whether a fleet answers requests."""
        return self.status in ANSWERING


def read_serving(sagemaker: "SageMakerClient", endpoint: str) -> Serving | None:
    """Return what an endpoint serves, or None if there is no such endpoint."""
    description = _describe(sagemaker, "describe_endpoint", EndpointName=endpoint)
    if description is None:
        return None
    config = str(description["EndpointConfigName"])
    return Serving(
        status=str(description["EndpointStatus"]),
        config=config,
        version=read_version(sagemaker, config),
        failure=str(description.get("FailureReason", "")),
        arn=str(description.get("EndpointArn", "")),
    )


def read_version(sagemaker: "SageMakerClient", config: str) -> Version | None:
    """Return an endpoint config with its model and package, or None if config or model no longer exist."""
    description = _describe(sagemaker, "describe_endpoint_config", EndpointConfigName=config)
    if description is None:
        return None
    name = str(description["ProductionVariants"][0]["ModelName"])
    model = _describe(sagemaker, "describe_model", ModelName=name)
    if model is None:
        return None
    containers = [*model.get("Containers", []), *([model["PrimaryContainer"]] if "PrimaryContainer" in model else [])]
    packages = {c["ModelPackageName"] for c in containers if "ModelPackageName" in c}
    return Version(
        config=config,
        variants=tuple(read_variant(variant) for variant in description["ProductionVariants"]),
        model=name,
        package=packages.pop() if len(packages) == 1 else None,
    )


def read_variant(variant: Mapping[str, Any]) -> Variant:
    """Return a production variant as an endpoint config has it."""
    return Variant(
        name=str(variant["VariantName"]),
        instance_type=str(variant.get("InstanceType", "")),
        instance_count=int(variant.get("InitialInstanceCount", 0)),
        weight=round(float(variant.get("InitialVariantWeight", 1.0)), 6),
    )


def read_description(sagemaker: "SageMakerClient", package: str) -> dict[str, Any] | None:
    """Return what the registry says about a package, or None if there is no such package."""
    return _describe(sagemaker, "describe_model_package", ModelPackageName=package)


def _describe(sagemaker: "SageMakerClient", operation: str, **arguments: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = getattr(sagemaker, operation)(**arguments)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return answer
