"""SSM parameters in which a unit publishes its resources, freeze calendar and platform to the command and its other stacks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import Metric
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.serving import PersonalSpec

PLATFORM_ROOT = "/mlops-platform/"
PLATFORM_VERSION = 1
UNIT_ROOT = "/mlops-unit/"
UNIT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """A period without model changes, from ``start`` up to but excluding ``end``. Both have a UTC offset."""

    name: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeSpec:
    """A unit's freeze calendar, as passed to functions (environment variable ``FREEZE``)."""

    windows: tuple[FreezeWindow, ...] = ()
    format: Literal["mlops.freeze/1"] = "mlops.freeze/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """Whether a unit's automation is paused: since when, by whom and why. Stored as JSON in the unit's automation row."""

    is_paused: bool
    by: str
    at: str
    reason: str
    format: Literal["mlops.pause/1"] = "mlops.pause/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEntry:
    """Parameter ``/mlops/<unit>/unit``: a unit's resources for the command. Without ``freeze`` the unit is never frozen.

    ``signing_key`` is the ARN of the key that signs the audit records of its endpoints, ``pause_key`` of the key for the unit's
    own chain; ``heads_bucket`` is where heads are published. ``owner`` is responsible for the unit, ``cost_center`` pays for
    it. ``platform`` is the platform whose rules apply to the unit, ``platform_rules`` their digest; both are absent without
    one.
    """

    unit: str
    automation_table: str
    audit_bucket: str
    artifacts_bucket: str
    bus: str
    freeze: FreezeSpec | None = None
    heads_bucket: str
    signing_key: str
    pause_key: str
    owner: str
    cost_center: str
    platform: str | None = None
    platform_rules: str | None = None
    format: Literal["mlops.unit-entry/1"] = "mlops.unit-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointEntry:
    """Parameter ``/mlops/<unit>/endpoint/<endpoint>``: an endpoint's resources for the command.

    ``url`` is the URL of a service on EKS; without it the endpoint is SageMaker's. ``personal`` are fields that clients hash or
    omit before sending. ``is_monitored`` is whether the endpoint's app defines a monitor for it.
    """

    endpoint: str
    unit: str
    group: str
    rollout_table: str
    deploy_machine: str
    target: str
    capture_bucket: str | None = None
    url: str | None = None
    personal: PersonalSpec | None = None
    is_monitored: bool
    format: Literal["mlops.endpoint-entry/1"] = "mlops.endpoint-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineEntry:
    """Parameter ``/mlops/<unit>/pipeline/<pipeline>``: a pipeline's resources and settings for the command.

    ``requirements_sha256`` is the hash of the lock of its image's environment; without it the image only runs ONNX.
    ``endpoint`` is the endpoint whose champion candidates are compared with. ``metric``, ``label``, ``labels`` (of several
    outputs), ``timestamp``, ``block``, ``period`` and ``baselines`` are the evaluation's; ``confidence``, ``resamples`` and
    ``seed`` are those of the gate's intervals. ``training_set`` is the ``s3://bucket/prefix`` where another system writes
    training sets; default: the pipeline builds them. ``container_trust`` is what loading a model may do in a third-party
    serving container; without it the platform's server serves. ``asks_servers`` is whether jobs of the pipeline send requests
    to the server of such a container.
    """

    pipeline: str
    unit: str
    group: str
    retraining_table: str
    retrain_machine: str
    queue_url: str
    requirements_sha256: str | None = None
    endpoint: str | None = None
    metric: Metric | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    timestamp: str | None = None
    block: str | None = None
    period: str | None = None
    baselines: tuple[str, ...] | None = None
    confidence: float | None = None
    resamples: int | None = None
    seed: int | None = None
    training_set: str | None = None
    container_trust: Trust | None = None
    asks_servers: bool | None = None
    format: Literal["mlops.pipeline-entry/1"] = "mlops.pipeline-entry/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStoreEntry:
    """Parameter ``/mlops/<unit>/features``: resources of a unit's feature store, for the command and other clients.

    Optional fields are absent if the store lacks the feature: the bucket of incoming batches and its retention in days, the
    online table, and the Glue job of large training sets. ``export`` is set if another stack than the unit's defines the store:
    the CloudFormation export that importing stacks reference, so that the defining stack cannot be deleted.
    """

    unit: str
    database: str
    data_bucket: str
    training_sets_bucket: str
    manifests_bucket: str
    incoming_bucket: str | None = None
    incoming_days: int | None = None
    online_table: str | None = None
    training_set_job: str | None = None
    export: str | None = None
    format: Literal["mlops.feature-store-entry/1"] = "mlops.feature-store-entry/1"


Entry = UnitEntry | EndpointEntry | PipelineEntry | FeatureStoreEntry

ROOT = "/mlops/"


def entry_name(entry: Entry) -> str:
    """Return the name of an entry's parameter.

    Example:
        >>> entry_name(FeatureStoreEntry(
        ...     unit="demand", database="d", data_bucket="b", training_sets_bucket="t", manifests_bucket="m"))
        '/mlops/demand/features'
    """
    if isinstance(entry, UnitEntry):
        return f"{ROOT}{entry.unit}/unit"
    if isinstance(entry, EndpointEntry):
        return f"{ROOT}{entry.unit}/endpoint/{entry.endpoint}"
    if isinstance(entry, FeatureStoreEntry):
        return store_parameter(entry.unit)
    return f"{ROOT}{entry.unit}/pipeline/{entry.pipeline}"


def store_parameter(unit: str) -> str:
    """Return the name of the parameter of a unit's feature store.

    Example:
        >>> store_parameter("demand")
        '/mlops/demand/features'
    """
    return f"{ROOT}{unit}/features"


def entry_kind(name: str) -> type[Entry] | None:
    """Return the class of the entry in a parameter with this name; None for other parameters."""
    match name.removeprefix(ROOT).split("/") if name.startswith(ROOT) else []:
        case [_, "unit"]:
            return UnitEntry
        case [_, "features"]:
            return FeatureStoreEntry
        case [_, "endpoint", _]:
            return EndpointEntry
        case [_, "pipeline", _]:
            return PipelineEntry
    return None


def read_entry(name: str, value: str) -> Entry | None:
    """Return the entry in a parameter; None for other parameters.

    Raises:
        ContractError: If the value is not a valid entry of the kind that the name implies.
    """
    kind = entry_kind(name)
    return None if kind is None else from_json(kind, value)


def entry_value(entry: Entry) -> str:
    """Return the value of an entry's parameter."""
    return canonical_json(entry).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitParameter:
    """A value that a unit publishes to its other stacks at deployment: last part of the parameter name, type and description."""

    field: str
    type: Literal["String", "StringList"]
    description: str


# Values that other stacks cannot derive from a unit's name, account and region; ARNs where a name is not sufficient.
# CloudFormation cannot parse an entry's JSON, and an exported value could not change while another stack imports it. So
# only names are exported, which prevents deletion of the defining stack before the importing ones (``unit_export``).
UNIT_PARAMETERS = (
    UnitParameter(field="owner", type="String", description="Owner of the unit"),
    UnitParameter(field="cost_center", type="String", description="Cost center of the unit"),
    UnitParameter(field="key_arn", type="String", description="Key of all data"),
    UnitParameter(field="topic_arn", type="String", description="Topic of alarms and requests for approval"),
    UnitParameter(field="bus", type="String", description="Bus of the unit's own events"),
    UnitParameter(field="artifacts_bucket", type="String", description="Bucket of specs, models and reports"),
    UnitParameter(field="audit_bucket", type="String", description="Bucket of audit records"),
    UnitParameter(field="heads_bucket", type="String", description="Bucket of published heads of audit chains"),
    UnitParameter(field="access_logs_bucket", type="String", description="Bucket of access logs"),
    UnitParameter(field="signing_key_arn", type="String", description="Key that signs audit records of endpoints"),
    UnitParameter(field="boundary_arn", type="String", description="Permissions boundary of every role"),
    UnitParameter(field="function_policy_arn", type="String", description="Managed policy of every function's role"),
    UnitParameter(field="automation_table", type="String", description="Table with the pause state of automation"),
    UnitParameter(field="freeze", type="String", description="Freeze calendar, as functions read it"),
    UnitParameter(field="vpc_id", type="String", description="VPC of the unit's workloads"),
    UnitParameter(field="subnet_ids", type="StringList", description="Subnets of the VPC"),
    UnitParameter(field="availability_zones", type="StringList", description="Zones of the subnets, in their order"),
    UnitParameter(field="security_group_id", type="String", description="Security group of the unit's workloads"),
)

# of a unit with a platform: its rules as JSON, and the values of the required tags, in the order of the rules
RULE_PARAMETERS = (
    UnitParameter(field="platform_rules", type="String", description="Rules of the platform for the unit"),
    UnitParameter(
        field="required_tags", type="StringList", description="Values of the tags that the platform requires"
    ),
)


# of a unit's feature store, for training sets in other stacks
STORE_PARAMETERS = (
    UnitParameter(field="features/data_bucket", type="String", description="Bucket of the feature tables"),
    UnitParameter(field="features/training_sets_bucket", type="String", description="Bucket of training sets"),
    UnitParameter(field="features/manifests_bucket", type="String", description="Bucket of manifests"),
)


def unit_export(unit: str, *, part: str | None = None) -> str:
    """Return the name of the CloudFormation export that importing stacks reference, for a unit or a part of it in another stack.

    Args:
        unit: Name of the exported business unit.
        part: Part defined by another stack than the unit's, such as ``features``. Default: the unit itself.

    Example:
        >>> unit_export("demand"), unit_export("demand", part="registry:demand-forecast")
        ('mlops-unit-demand', 'mlops-unit-demand:registry:demand-forecast')
    """
    return f"mlops-unit-{unit}" if part is None else f"mlops-unit-{unit}:{part}"


def unit_parameter(unit: str, profile: str, field: str) -> str:
    """Return the name of the parameter with a value of a unit.

    The name contains the profile, so that CloudFormation rejects a stack that imports the unit under another one before it starts.

    Args:
        unit: Name of the business unit, the second part of the path.
        profile: ``development`` or ``production``.
        field: A field of ``UNIT_PARAMETERS`` or ``STORE_PARAMETERS``.

    Example:
        >>> unit_parameter("demand", "production", "key_arn")
        '/mlops-unit/demand/1/production/key_arn'
    """
    return f"{UNIT_ROOT}{unit}/{UNIT_VERSION}/{profile}/{field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformParameter:
    """One parameter of a platform: last part of its name, type, pattern of its value (of each list item) and description."""

    field: str
    type: Literal["String", "StringList"]
    pattern: str
    description: str
    is_required: bool = True


PLATFORM_PARAMETERS = (
    PlatformParameter(field="vpc_id", type="String", pattern="vpc-[0-9a-f]{8,17}", description="Network of the units"),
    PlatformParameter(
        field="subnet_ids",
        type="StringList",
        pattern="subnet-[0-9a-f]{8,17}",
        description="Private subnets, one a zone, in the order of the zones",
    ),
    PlatformParameter(
        field="availability_zones",
        type="StringList",
        pattern="[a-z]{2}(-[a-z]+)+-[0-9][a-z]",
        description="Zones of the subnets",
    ),
    PlatformParameter(
        field="key_arn",
        type="String",
        pattern="arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}",
        description="Key of all data of the units",
    ),
    PlatformParameter(
        field="approver_role_arn",
        type="String",
        pattern="arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}",
        description="Role in which people approve models",
        is_required=False,
    ),
    PlatformParameter(
        field="cluster_name",
        type="String",
        pattern="[0-9A-Za-z][A-Za-z0-9_-]{0,99}",
        description="EKS cluster of the units",
        is_required=False,
    ),
    PlatformParameter(
        field="cluster_security_group_id",
        type="String",
        pattern="sg-[0-9a-f]{8,17}",
        description="Security group of that cluster",
        is_required=False,
    ),
)


def platform_parameter(platform: str, field: str) -> str:
    """Return the name of a platform's parameter.

    Args:
        platform: Name of the platform, such as that of the estate's workspace.
        field: A field of ``PLATFORM_PARAMETERS``.

    Example:
        >>> platform_parameter("retail", "vpc_id")
        '/mlops-platform/retail/1/vpc_id'
    """
    return f"{PLATFORM_ROOT}{platform}/{PLATFORM_VERSION}/{field}"
