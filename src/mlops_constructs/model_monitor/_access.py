"""What counting and deciding may do, in a function or a job: one endpoint's prefixes, its row, its unit's metrics and events."""

from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._iam import key_statement, put_events_statement
from mlops_constructs.model_endpoint import IServedModel
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.monitor.spec import MonitorSpec

_BALANCER = "AWS/ApplicationELB"
REASON = (
    "captures, counts and reports lie below the endpoint's own prefixes by hour, and metrics have no resource type; "
    "rejected: one object for all, which concurrent captures would overwrite"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorAccess:
    """The monitor and what stands around it; ``period_hours`` is how often it decides."""

    scope: Construct
    business_unit: IBusinessUnit
    endpoint: IServedModel
    captures: s3.IBucket
    period_hours: int

    def count(self) -> list[iam.PolicyStatement]:
        """Read captures and baseline, write counts, read what is live."""
        unit, name = self.business_unit, self.endpoint.endpoint_name
        return [
            objects("s3:GetObject", self.captures.arn_for_objects(f"capture/{name}/*"), self._artifacts("evaluations")),
            objects("s3:PutObject", unit.artifacts.arn_for_objects(f"monitor/{name}/counts/*")),
            # what executions announce of their own calls; the keys say all
            list_objects(unit.artifacts.bucket_arn, f"{announcement_prefix(name)}*"),
            iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[self.endpoint.rollout.table.table_arn]),
            key_statement(unit.key, services=["dynamodb", "s3"]),
        ]

    def decide(self) -> list[iam.PolicyStatement]:
        """Read captures, labels, counts, baseline and earlier reports; write report, metrics and event."""
        unit, name = self.business_unit, self.endpoint.endpoint_name
        calls = [f"capture/{name}/*", f"labels/{name}/*"]
        announced = f"{announcement_prefix(name)}*"
        counts, reports, violations = (f"monitor/{name}/{folder}/*" for folder in ("counts", "reports", "violations"))
        own = unit.artifacts.arn_for_objects
        return [
            objects("s3:GetObject", *(self.captures.arn_for_objects(prefix) for prefix in calls)),
            objects("s3:GetObject", own(counts), own(reports), self._artifacts("evaluations")),
            objects("s3:PutObject", own(reports), own(violations)),
            list_objects(self.captures.bucket_arn, *calls),
            list_objects(unit.artifacts.bucket_arn, announced, counts, reports),
            iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[self.endpoint.rollout.table.table_arn]),
            # calls of the window, and latency beside that of the weeks before; what is published is logged in embedded format
            iam.PolicyStatement(actions=["cloudwatch:GetMetricData"], resources=["*"]),
            put_events_statement(unit),
            key_statement(unit.key, services=["dynamodb", "s3"]),
        ]

    def publish(self) -> iam.PolicyStatement:
        """Publish metrics in the unit's namespace alone."""
        return iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": metric_namespace(self.business_unit.name)}},
        )

    def model(self) -> list[iam.PolicyStatement]:
        """Read the artefact of the live model, which is explained."""
        return [objects("s3:GetObject", self._artifacts("models"))]

    def environment(self, spec: MonitorSpec, *, window_hours: int) -> dict[str, str]:
        """Return what the deciding function is told, and what the job is told that stands for it."""
        unit, endpoint = self.business_unit, self.endpoint
        return {
            "ENDPOINT": endpoint.endpoint_name,
            "VARIANT": endpoint.variant,
            "UNIT": unit.name,
            "ROLLOUT_TABLE": endpoint.rollout.table.table_name,
            "ARTIFACTS_BUCKET": unit.artifacts.bucket_name,
            "CAPTURE_BUCKET": self.captures.bucket_name,
            "EVENT_BUS": unit.bus.event_bus_name,
            "WINDOW_HOURS": str(window_hours),
            "PERIOD_HOURS": str(self.period_hours),
            "MONITOR": canonical_json(spec).decode(),
            **self._traffic(),
        }

    def _traffic(self) -> dict[str, str]:
        """Where calls and latency are published, where that is not SageMaker's own metrics.

        A load balancer has both with the same dimensions, and the time in seconds.
        See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
        """
        metric = self.endpoint.metric_invocations()
        if metric.namespace == "AWS/SageMaker":
            return {}
        names: dict[str, Any] = {
            "namespace": metric.namespace,
            "metric": metric.metric_name,
            "dimensions": metric.dimensions,
        }
        if metric.namespace == _BALANCER:
            names["latency"] = {**names, "metric": "TargetResponseTime", "milliseconds": 1000}
        return {"TRAFFIC": cdk.Stack.of(self.scope).to_json_string(names)}

    def _artifacts(self, folder: str) -> str:
        return self.business_unit.artifacts.arn_for_objects(f"{folder}/{self.endpoint.endpoint_name}/*")


def objects(action: str, *resources: str) -> iam.PolicyStatement:
    """Return the right to read or write objects."""
    return iam.PolicyStatement(actions=[action], resources=list(resources))


def list_objects(bucket_arn: str, *prefixes: str) -> iam.PolicyStatement:
    """Return the right to list what lies below prefixes."""
    return iam.PolicyStatement(
        actions=["s3:ListBucket"], resources=[bucket_arn], conditions={"StringLike": {"s3:prefix": list(prefixes)}}
    )
