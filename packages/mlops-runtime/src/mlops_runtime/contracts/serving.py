"""Compute that serves a model, as the serving spec describes it: fleets of an endpoint, or two slots of a Kubernetes cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOTS = ("blue", "green")
# types of values of a promised column
PromisedKind = Literal["number", "integer", "boolean", "text", "integer text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedColumn:
    """One column of a promise: type ``kind`` of its values, whether they may be null, and whether rows must have the column."""

    name: str
    kind: PromisedKind
    is_nullable: bool
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPromise:
    """Request format that an API promises its callers by the schema file ``name``: columns in order, and maximum rows per call.

    ``arrays`` are the columns of a row that is an array, in order. Default: rows must be objects.
    """

    name: str
    columns: tuple[PromisedColumn, ...]
    max_rows: int
    arrays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSpec:
    """Personal fields of requests. Capture stores whole payloads, so clients change these fields before sending.

    ``hashed`` fields are sent as a keyed hash, with the secret at ``secret_arn`` as the key; ``withheld`` fields are not sent.
    ``plain`` fields are sent unchanged, although their names look personal.
    """

    hashed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    secret_arn: str | None = None
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSpec:
    """SageMaker's data capture: percentage of calls (1-100), S3 prefix and KMS key."""

    percent: int
    destination: str
    kms_key: str | None = None
    personal: PersonalSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessSpec:
    """Serverless inference: memory in MB, maximum concurrency and provisioned concurrency."""

    memory_mb: int
    max_concurrency: int
    provisioned_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousSpec:
    """Asynchronous inference: locations of responses and failures, and the topics to notify."""

    output: str
    failures: str
    max_concurrency: int | None = None
    success_topic: str | None = None
    error_topic: str | None = None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCapacitySpec:
    """Capacity limits of the fleet from a time on; ``schedule`` is a ``cron(...)`` or ``at(...)`` of Application Auto Scaling."""

    name: str
    schedule: str
    minimum: int
    maximum: int
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """Capacity limits of the fleet and its target: calls per instance and minute, or the backlog; cooldowns in seconds."""

    minimum: int
    maximum: int
    target: float | None = None
    metric: Literal["INVOCATIONS_PER_INSTANCE", "BACKLOG_PER_INSTANCE"] = "INVOCATIONS_PER_INSTANCE"
    scale_in_cool_down: int = 300
    scale_out_cool_down: int = 60
    schedules: tuple[ScheduledCapacitySpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """A further production variant of the same model on other instances, with its share of the calls."""

    name: str
    instance_type: str
    instance_count: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """When two responses to a request count as equal: each number within ``absolute`` + ``relative`` times the live model's.

    At most the share ``max_changed`` of the requests may get a different response.
    """

    relative: float
    absolute: float
    max_changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSpec:
    """A shadow variant: the candidate gets a copy of ``percent`` of the calls for ``bake`` seconds; its responses are discarded.

    With a ``tolerance``, all calls are captured meanwhile, and its responses are compared with the live model's.
    """

    percent: int
    bake: int
    instance_count: int = 1
    tolerance: ToleranceSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSpec:
    """Requests that a candidate must answer before it gets traffic: a JSONL object of ``GoldenRequest``, identified by hash.

    ``max_deviation`` limits the median relative difference from the live model's responses. The median latency of each request
    over all rounds is at most ``max_latency_ms``, and at most ``max_slowdown`` times the live model's. ``max_row_deviation``
    limits the relative difference of each row of the request ``categories``.
    """

    uri: str
    sha256: str
    max_deviation: float | None = None
    max_latency_ms: int | None = None
    max_slowdown: float | None = None
    max_row_deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """One request, and the bounds of every number in a valid response.

    ``columns`` is how many numbers the response has for each row of a model of classes, outputs or a vector; ``minimums`` and
    ``maximums`` are bounds for each of them. ``row_minimums`` and ``row_maximums`` are bounds for each row, null for no bound.
    """

    name: str
    body: str
    rows: int
    content_type: str = "application/json"
    minimum: float | None = None
    maximum: float | None = None
    columns: int | None = None
    minimums: tuple[float, ...] | None = None
    maximums: tuple[float, ...] | None = None
    row_minimums: tuple[float | None, ...] | None = None
    row_maximums: tuple[float | None, ...] | None = None

    @property
    def numbers(self) -> int:
        """Number of numbers in a valid response."""
        return self.rows * (self.columns or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """A custom metric of the unit that triggers a rollback; with ``is_per_fleet``, the new fleet's config name is a dimension."""

    namespace: str
    metric: str
    threshold: float
    statistic: str = "Sum"
    comparison: Literal[
        "GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"
    ] = "GreaterThanThreshold"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    is_per_fleet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EksSpec:
    """Additions of an EKS service to a serving spec; its ``execution_role`` is the role of the pods.

    Args:
        cluster: Name of the cluster; its endpoint and certificate authority are read at run time.
        namespace: The tenant's namespace.
        service_account: Service account of the pods, with a pod identity association.
        rule: ARN of the listener rule whose weights shift the traffic.
        target_groups: ARN of each slot's target group.
        minimum: Minimum number of pods of a serving slot.
        maximum: Maximum number of pods.
        cpu: CPU of a pod, as a Kubernetes quantity.
        memory: Memory of a pod, both request and limit.
        cpu_target: CPU utilization in percent that the fleet is scaled to.
        architecture: Architecture of the nodes.
        ingress_cidrs: Sources that may call the pods: the load balancer's subnets.
        egress_cidrs: Destinations that pods may call on port 443: the endpoints of S3, STS and KMS.
        alarms: Names of each slot's alarms.
        binding_api: API version of TargetGroupBinding: that of EKS Auto Mode, or of a self-installed controller.
        image: Image by digest. Default: that of the model package.
        dns_cidrs: Addresses of the cluster's DNS. Default: those in EKS' default service ranges; required for another range.
        zones: Names of the load balancer's Availability Zones, the only ones where pods get traffic. Empty: any zone.
    """

    cluster: str
    namespace: str
    service_account: str
    rule: str
    target_groups: Mapping[str, str]
    minimum: int
    maximum: int
    cpu: str
    memory: str
    ingress_cidrs: tuple[str, ...]
    egress_cidrs: tuple[str, ...]
    alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cpu_target: int = 60
    architecture: Literal["amd64", "arm64"] = "amd64"
    binding_api: Literal["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"] = "eks.amazonaws.com/v1"
    image: str | None = None
    dns_cidrs: tuple[str, ...] | None = None
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotVersion:
    """The version in a slot, from the annotations of its Deployment (``mlops.constructs/<field>``).

    ``config`` is the version's name, derived from the execution; ``image`` is by digest, ``artifact_sha256`` the archive's hash.
    """

    config: str
    package: str
    image: str
    artifact_uri: str
    artifact_sha256: str
    model_sha256: str
    spec_sha256: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot as reported by the cluster: its version, and the numbers of desired, ready and updated pods.

    ``version`` is None if the slot has never been applied. ``unsorted`` counts ready pods of any revision while the cluster has
    not yet observed the newest generation, as in the seconds after an autoscaler changed the number of pods.
    """

    slot: str
    version: SlotVersion | None
    desired: int = 0
    ready: int = 0
    updated: int = 0
    reason: str = ""
    unsorted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EksTenantSpec:
    """A business unit on a cluster: namespace, quota, and the Kubernetes group that may apply its manifests."""

    namespace: str
    unit: str
    applier_group: str
    cpu: str
    memory: str
    pods: int
    labels: Mapping[str, str] = field(default_factory=dict)
