"""On what a model is served, as the serving spec carries it: an endpoint's fleets, or two slots of a Kubernetes cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOTS = ("blue", "green")
# what the values of a promised column may be
PromisedKind = Literal["number", "integer", "boolean", "text", "integer text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedColumn:
    """One column of the promise: ``kind`` is what a value may be; it may be ``is_nullable``, and a row must have it or may not."""

    name: str
    kind: PromisedKind
    is_nullable: bool
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPromise:
    """What the schema in the file ``name`` promises callers of an API: columns of a row, in order, and rows of a call at most.

    ``arrays`` are the columns of a row that is an array, in its order. Default: rows are objects alone.
    """

    name: str
    columns: tuple[PromisedColumn, ...]
    max_rows: int
    arrays: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSpec:
    """Fields of calls that are personal: capture keeps whole payloads, so the client changes them before they are sent.

    ``hashed`` fields are sent as a keyed hash, whose key is the secret at ``secret_arn``; ``withheld`` ones are not sent at all.
    ``plain`` ones are sent as they are, though their names read like personal ones.
    """

    hashed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    secret_arn: str | None = None
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSpec:
    """Native data capture: percent of calls (1-100) to an S3 prefix under a key."""

    percent: int
    destination: str
    kms_key: str | None = None
    personal: PersonalSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessSpec:
    """Serverless inference: memory in MB, concurrent calls at most, and how many of them are kept warm."""

    memory_mb: int
    max_concurrency: int
    provisioned_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousSpec:
    """Asynchronous inference: where responses and failures are written, and which topics are notified."""

    output: str
    failures: str
    max_concurrency: int | None = None
    success_topic: str | None = None
    error_topic: str | None = None
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCapacitySpec:
    """Bounds of the fleet from a time on; ``schedule`` is Application Auto Scaling's ``cron(...)`` or ``at(...)``."""

    name: str
    schedule: str
    minimum: int
    maximum: int
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """Bounds of the fleet and what it follows: calls an instance and minute, or its backlog; cool-downs in seconds."""

    minimum: int
    maximum: int
    target: float | None = None
    metric: Literal["INVOCATIONS_PER_INSTANCE", "BACKLOG_PER_INSTANCE"] = "INVOCATIONS_PER_INSTANCE"
    scale_in_cool_down: int = 300
    scale_out_cool_down: int = 60
    schedules: tuple[ScheduledCapacitySpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """A further production variant of the same model, on other instances, with its share of the calls."""

    name: str
    instance_type: str
    instance_count: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """When two answers to one request are the same: each number within ``absolute`` + ``relative`` times the live model's.

    Of the requests at most the share ``max_changed`` may get another answer.
    """

    relative: float
    absolute: float
    max_changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSpec:
    """A shadow variant: the candidate gets a copy of ``percent`` of the calls for ``bake`` seconds; its responses are discarded.

    With a ``tolerance`` all calls are captured meanwhile, and its answers compared with the live model's to the same requests.
    """

    percent: int
    bake: int
    instance_count: int = 1
    tolerance: ToleranceSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSpec:
    """Requests that a candidate answers before it gets traffic: a JSONL object of ``GoldenRequest``, by hash.

    ``max_deviation`` bounds the median relative difference to the live model's answers. Of each request the median time over all
    rounds is at most ``max_latency_ms``, and at most ``max_slowdown`` times that of the live model. ``max_row_deviation`` bounds
    the relative difference of each row of the request ``categories``.
    """

    uri: str
    sha256: str
    max_deviation: float | None = None
    max_latency_ms: int | None = None
    max_slowdown: float | None = None
    max_row_deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """One request with bounds that every number of a right answer keeps to.

    ``columns`` is how many numbers a row's answer has, of a model of classes, outputs or a vector; ``minimums`` and ``maximums``
    are bounds for each of them. ``row_minimums`` and ``row_maximums`` are bounds for each row, null for none.
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
        """How many numbers a right answer has."""
        return self.rows * (self.columns or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """A metric of the unit's own that rolls back; with ``is_per_fleet`` the new fleet's config name is one of its dimensions."""

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
    """What an EKS service adds to a serving spec; its ``execution_role`` is the role that the pods take on.

    Args:
        cluster: Name of the cluster; its endpoint and authority are read when it is asked.
        namespace: The tenant's namespace.
        service_account: Account of the pods, with a pod identity association.
        rule: ARN of the listener rule whose weights are shifted.
        target_groups: ARN of each slot's target group.
        minimum: Pods of a slot that serves, at least.
        maximum: Pods at most.
        cpu: CPU of a pod, as a Kubernetes quantity.
        memory: Memory of a pod, request and limit.
        cpu_target: Percent of the CPU that the fleet is scaled to.
        architecture: Of the nodes.
        ingress_cidrs: From where pods may be asked: the load balancer's subnets.
        egress_cidrs: Where pods may call on port 443: the endpoints of S3, STS and KMS.
        alarms: Names of each slot's alarms.
        binding_api: API version of TargetGroupBinding: Auto Mode's, or that of the controller one installs.
        image: Image by digest. Default: that of the model package.
        dns_cidrs: Addresses of the cluster's DNS. Default: those in EKS' default service ranges; give it for another range.
        zones: Names of the load balancer's Availability Zones, in which alone its pods are useful. Default: any, for a spec that
            was written before there were zones.
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
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotVersion:
    """What a slot runs, as annotations of its Deployment say (``mlops.constructs/<field>``).

    ``config`` is the version's name, made of the execution; ``image`` is by digest, ``artifact_sha256`` that of the archive.
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
    """A slot as the cluster describes it: its version, pods wanted, ready and of the newest revision.

    ``version`` is None where the slot has never been applied. ``unsorted`` are ready pods of whichever revision, where the cluster
    has not read the newest one yet, as in the seconds after an autoscaler changed the number of pods.
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
    """A business unit on a cluster: namespace, quota, and the Kubernetes group of the applier of its manifests."""

    namespace: str
    unit: str
    applier_group: str
    cpu: str
    memory: str
    pods: int
    labels: Mapping[str, str] = field(default_factory=dict)
