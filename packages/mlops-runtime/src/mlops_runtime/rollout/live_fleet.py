"""Reader of an endpoint's live version in SageMaker, and of the resources that rollouts created for it."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.lambda_protocol import is_missing
from mlops_runtime.rollout.execution_names import ENDPOINT_TAG
from mlops_runtime.rollout.fleet_alarms import alarm_prefix
from mlops_runtime.rollout.probation_alarm import probation_alarm

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient

# keeps a plan small: the next execution takes the rest
MAXIMUM = 20

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: statuses in which a fleet responds
ANSWERING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Names of resources to delete: versions (config and model of one name), rehearsals (endpoints) and alarms."""

    versions: tuple[str, ...] = ()
    rehearsals: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Resources that rollouts created for one endpoint."""

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    endpoint: str

    def leftovers(self, used: Collection[str]) -> Leftovers:
        """Return resources that are not ``used``: ``used`` names configs that are live, kept for rollbacks, or about to be created.

        The caller holds the endpoint's lock, so no other execution creates or needs them, and every alarm of a fleet is left over.
        """
        versions = [name for name in dict.fromkeys((*self.configs(), *self.models())) if name not in used]
        return Leftovers(
            versions=tuple(versions[:MAXIMUM]),
            rehearsals=tuple(list(self.rehearsals())[:MAXIMUM]),
            alarms=tuple(list(self.alarms())[:MAXIMUM]),
        )

    def configs(self) -> Iterator[str]:
        """Yield the names of the endpoint's configs, including those of rehearsals."""
        yield from self._ours("list_endpoint_configs", "EndpointConfigs", "EndpointConfig", r"(-golden)?")

    def models(self) -> Iterator[str]:
        """Yield the names of the endpoint's models."""
        yield from self._ours("list_models", "Models", "Model", "")

    def rehearsals(self) -> Iterator[str]:
        """Yield the names of rehearsal endpoints."""
        yield from self._ours("list_endpoints", "Endpoints", "Endpoint", "-golden", except_status="Deleting")

    def alarms(self) -> Iterator[str]:
        """Yield the names of alarms of new fleets."""
        yield from self._alarms(AlarmNamePrefix=alarm_prefix(self.endpoint))

    def probation_alarms(self) -> Iterator[str]:
        """Yield the name of the probation alarm, if it exists."""
        name = probation_alarm(self.endpoint)
        yield from (found for found in self._alarms(AlarmNamePrefix=name) if found == name)

    def _alarms(self, **which: Any) -> Iterator[str]:
        pages = self.cloudwatch.get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"], **which)
        for page in pages:
            yield from (alarm["AlarmName"] for alarm in page["MetricAlarms"])

    def _ours(
        self, operation: Any, members: str, kind: str, middle: str, except_status: str | None = None
    ) -> Iterator[str]:
        name = re.compile(re.escape(self.endpoint) + middle + "-[0-9a-f]{8}")
        for page in self.sagemaker.get_paginator(operation).paginate(NameContains=self.endpoint):
            for entry in page[members]:
                if except_status is not None and entry[f"{kind}Status"] == except_status:
                    continue
                if name.fullmatch(entry[f"{kind}Name"]) and self._is_tagged(entry[f"{kind}Arn"]):
                    yield entry[f"{kind}Name"]

    def _is_tagged(self, arn: str) -> bool:
        tags = self.sagemaker.list_tags(ResourceArn=arn)["Tags"]
        return {"Key": ENDPOINT_TAG, "Value": self.endpoint} in tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A production variant of an endpoint config; a serverless one has no instances."""

    name: str
    instance_type: str
    instance_count: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An endpoint config with its variants and model; ``package`` is None for a model that was not created from a package."""

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
    """An endpoint as described by SageMaker; ``version`` is None if its config or model was deleted."""

    status: str
    config: str
    version: Version | None
    failure: str = ""
    arn: str = ""

    @property
    def is_answering(self) -> bool:
        """Whether a fleet responds to requests."""
        return self.status in ANSWERING


def read_serving(sagemaker: "SageMakerClient", endpoint: str) -> Serving | None:
    """Return an endpoint's live version; None if the endpoint does not exist."""
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


def read_status(sagemaker: "SageMakerClient", endpoint: str) -> tuple[str, str] | None:
    """Return the status and config of an endpoint in one call; None if it does not exist."""
    description = _describe(sagemaker, "describe_endpoint", EndpointName=endpoint)
    return None if description is None else (str(description["EndpointStatus"]), str(description["EndpointConfigName"]))


def read_version(sagemaker: "SageMakerClient", config: str) -> Version | None:
    """Return an endpoint config with its model and package; None if config or model does not exist."""
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
    """Return a production variant of an endpoint config."""
    return Variant(
        name=str(variant["VariantName"]),
        instance_type=str(variant.get("InstanceType", "")),
        instance_count=int(variant.get("InitialInstanceCount", 0)),
        weight=round(float(variant.get("InitialVariantWeight", 1.0)), 6),
    )


def read_description(sagemaker: "SageMakerClient", package: str) -> Mapping[str, Any] | None:
    """Return the registry's description of a package; None if it does not exist."""
    return _describe(sagemaker, "describe_model_package", ModelPackageName=package)


def _describe(sagemaker: "SageMakerClient", operation: str, **arguments: str) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = getattr(sagemaker, operation)(**arguments)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return answer
