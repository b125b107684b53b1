"""What the Deploy machine has made for an endpoint, found by name and tag: versions, rehearsals, alarms of new fleets.

An execution that was stopped in the middle cleans up nothing; the next one takes along what nobody refers to any more.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_runtime.rollout.fleet_alarms import alarm_prefix
from mlops_runtime.rollout.tags import ENDPOINT_TAG

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient

# a plan stays small: what is more than that is taken by the next execution
MAXIMUM = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Names of what may be deleted: versions (config and model of one name), rehearsals (endpoints) and alarms."""

    versions: tuple[str, ...] = ()
    rehearsals: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made for one endpoint.

    Args:
        sagemaker: Client.
        cloudwatch: Client.
        endpoint: The endpoint.
    """

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    endpoint: str

    def leftovers(self, used: Collection[str]) -> Leftovers:
        """Return what is not ``used``: configs that serve, are kept to go back to, or are about to be made.

        Nobody else makes or needs any of it: whoever asks holds the endpoint's lock. So every alarm of a fleet is left over.
        """
        versions = [name for name in dict.fromkeys((*self.configs(), *self.models())) if name not in used]
        return Leftovers(
            versions=tuple(versions[:MAXIMUM]),
            rehearsals=tuple(list(self.rehearsals())[:MAXIMUM]),
            alarms=tuple(list(self.alarms())[:MAXIMUM]),
        )

    def configs(self) -> Iterator[str]:
        """Yield the names of endpoint configs of ours, also those of rehearsals."""
        yield from self._ours("list_endpoint_configs", "EndpointConfigs", "EndpointConfig", r"(-golden)?")

    def models(self) -> Iterator[str]:
        """Yield the names of models of ours."""
        yield from self._ours("list_models", "Models", "Model", "")

    def rehearsals(self) -> Iterator[str]:
        """Yield the names of rehearsal endpoints."""
        yield from self._ours("list_endpoints", "Endpoints", "Endpoint", "-golden", except_status="Deleting")

    def alarms(self) -> Iterator[str]:
        """Yield the names of alarms of new fleets."""
        pages = self.cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=alarm_prefix(self.endpoint), AlarmTypes=["MetricAlarm"]
        )
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
