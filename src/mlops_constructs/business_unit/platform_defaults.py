"""Defaults and limits that a platform team declares once, in a package of its own, and that units may only tighten."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._unit_resources import RETENTIONS
from mlops_constructs._validation import ValidationError, check_duration, check_pattern
from mlops_constructs.business_unit.automation_access import FreezeCalendar
from mlops_constructs.business_unit.platform_estate import Platform
from mlops_constructs.business_unit.unit_network import Network
from mlops_constructs.model_registry.approval import DEFAULT_TIMEOUT, Approval
from mlops_constructs.rollout.rollout_policy import RolloutPolicy
from mlops_constructs.unit_interface import Profile
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.platform_rules import PlatformRules

_TAG_KEY = r"[\w .:/=+@-]{1,128}"
_TAG_VALUE = r"[\w .:/=+@-]{1,256}"
_TAG = "letters, digits, spaces or .:/=+@-_"
# limit of a standard parameter:
# https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
_MAXIMUM_CHARACTERS = 4096
_OWN_TAGS = "mlops:"
# tags that every unit has: owner and cost center default to its name
UNIT_TAGS = ("mlops:owner", "mlops:cost-center")


@checked("InvalidPlatformDefaults")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformDefaults:
    """Defaults and limits of a platform: units use them and may tighten, but never loosen them.

    A unit, or one of its constructs, that would loosen a value is rejected at synthesis; the error contains the rule, both values
    and the fix. Raw overrides of a template can still loosen a value, which the compliance report lists.

    Args:
        name: Name of the platform in errors: 2 to 32 lower-case letters, digits, hyphens.
        organization_id: Organization of all accounts, such as ``o-a1b2c3d4e5``, which becomes a condition of the unit's policies
            that allow accounts. Default: no such condition.
        platform: Terraform estate that provides network and key. Default: none.
        network: Network of every unit, ``Network.from_shared_vpc(...)``; a unit may use fewer of its subnets. Default: the unit's.
        encryption_key_arn: Key that encrypts all data. Default: the unit's.
        images: Patterns of image URIs, such as ``("111122223333.dkr.ecr.*.amazonaws.com/mlops/*",)``; ``*`` also matches parts
            that are only known at deployment. Default: any image.
        instance_types: Patterns of instance types, such as ``("ml.m5.*", "ml.c7g.*")``. Default: any type.
        regions: Regions of a unit's stacks; each stack then needs an ``env``. Default: any.
        profiles: Profiles of units; ``DEVELOPMENT`` does not lock records and deletes its data. Default: both.
        tags: Tags of every resource of the unit's stacks. Default: only the unit's own.
        required_tags: Keys of tags that each unit must set by ``tags=``; ``mlops:owner`` and ``mlops:cost-center`` by ``owner=``
            and ``cost_center=``. Default: none.
        log_retention: Minimum retention of logs, rounded up to a value that CloudWatch offers. Default: a year.
        audit_retention: Minimum lock of audit records, in PRODUCTION. Default: a year.
        weakest_approval: ``Approval.manual(timeout=...)``: a person must approve, within at most this time.
            Default: any approval.
        weakest_rollout: Limits of a unit's rollout, each at least as strict: first step at most as large, bake times and probation
            at least as long, at least as much evidence, error limits at most as high. Default: any rollout.
        freeze: Times that are added to each unit's calendar. Default: none.
        fleet: Whether the account's ``FleetReader`` may read the state of the unit's models: adds a tag to the tables and buckets
            of the state, and enables ABAC on these buckets. Default: it may not.

    Raises:
        ValidationError: With every value that is not allowed.

    Example:
        >>> PlatformDefaults(name="retail", instance_types=("ml.m5.*",), regions=("eu-west-1",)).rules.regions
        ('eu-west-1',)
    """

    name: str
    organization_id: str | None = None
    platform: Platform | None = None
    network: Network | None = None
    encryption_key_arn: str | None = None
    images: tuple[str, ...] | None = None
    instance_types: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    profiles: tuple[Profile, ...] | None = None
    tags: Mapping[str, str] | None = None
    required_tags: tuple[str, ...] = ()
    log_retention: cdk.Duration | None = None
    audit_retention: cdk.Duration | None = None
    weakest_approval: Approval | None = None
    weakest_rollout: RolloutPolicy | None = None
    freeze: FreezeCalendar | None = None
    fleet: bool = False

    def __post_init__(self) -> None:
        found = [problem for problem in self._problems() if problem is not None]
        if not found:
            size = len(canonical_json(self.rules))
            if size > _MAXIMUM_CHARACTERS:
                found.append(
                    f"defaults must have at most {_MAXIMUM_CHARACTERS} characters as JSON, got {size}; shorten lists"
                )
        if found:
            raise ValidationError("InvalidPlatformDefaults", found)

    @property
    def rules(self) -> PlatformRules:
        """The limits as data, equal for equal declarations."""
        network, approval, rollout = self.network, self.weakest_approval, self.weakest_rollout
        timeout = DEFAULT_TIMEOUT if approval is None or approval.timeout is None else approval.timeout
        return PlatformRules(
            platform=self.name,
            organization_id=self.organization_id,
            estate=None if self.platform is None else self.platform.name,
            vpc_id=None if network is None else network.shared_vpc_id,
            subnet_ids=None if network is None else network.shared_subnet_ids,
            key_arn=self.encryption_key_arn,
            images=self.images,
            instance_types=self.instance_types,
            regions=self.regions,
            profiles=None if self.profiles is None else tuple(profile.value for profile in self.profiles),
            tags=dict(self.tags) if self.tags else None,
            required_tags=self.required_tags or None,
            log_days=None if self.log_retention is None else log_days(self.log_retention),
            audit_days=None if self.audit_retention is None else int(self.audit_retention.to_days()),
            approval_seconds=None if approval is None else int(timeout.to_seconds(integral=False)),
            rollout=None if rollout is None else rollout.to_spec(),
            freeze=None if self.freeze is None else self.freeze.spec,
            fleet=self.fleet or None,
        )

    def _problems(self) -> Iterator[str | None]:
        yield check_pattern(
            "name",
            self.name,
            pattern=r"[a-z][a-z0-9-]{0,30}[a-z0-9]",
            allowed="2 to 32 lower-case letters, digits or hyphens, starting with a letter",
        )
        # https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html
        yield check_pattern(
            "organization_id",
            self.organization_id,
            pattern=r"o-[a-z0-9]{10,32}",
            allowed="'o-' and 10 to 32 lower-case letters or digits",
        )
        yield from self._known_problems()
        yield from self._network_problems()
        yield from self._list_problems()
        yield from self._tag_problems()
        days = cdk.Duration.days
        # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
        yield check_duration("log_retention", self.log_retention, minimum=days(1), maximum=days(3653), whole="days")
        yield check_duration(
            "audit_retention", self.audit_retention, minimum=days(1), maximum=days(36_500), whole="days"
        )
        if self.weakest_approval is not None and self.weakest_approval.is_automatic:
            yield "weakest_approval must be Approval.manual(), got Approval.automatic(), which allows every approval; omit it"

    def _known_problems(self) -> Iterator[str]:
        """Yield arguments that contain constructs: these belong to one app, and the defaults apply to many."""
        approval, rollout = self.weakest_approval, self.weakest_rollout
        if approval is not None and any((approval.topic, approval.approver, approval.chat_topic)):
            yield "weakest_approval must not contain a topic or role, which belong to a unit; set only the timeout"
        if rollout is not None and (rollout.checks.alarms or rollout.checks.probation_alarms or rollout.checks.metrics):
            yield "weakest_rollout must not contain alarms or metrics, which belong to a model; remove them from its checks"

    def _network_problems(self) -> Iterator[str | None]:
        network = self.network
        if network is not None and self.platform is not None:
            yield "network must not be set together with platform, which provides one; remove it"
        if self.encryption_key_arn is not None and self.platform is not None:
            yield "encryption_key_arn must not be set together with platform, which provides a key; remove it"
        if network is not None and network.shared_vpc_id is None:
            yield "network must be a Network.from_shared_vpc(...), got a created network or one of a single app; refer to it by ids"
        yield check_pattern(
            "encryption_key_arn",
            self.encryption_key_arn,
            pattern=r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}|arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/mrk-[0-9a-f]{32}",
            allowed="the ARN of a key, not of an alias",
        )

    def _list_problems(self) -> Iterator[str | None]:
        for name, values in (
            ("images", self.images),
            ("instance_types", self.instance_types),
            ("regions", self.regions),
            ("profiles", self.profiles),
        ):
            if values is not None and not values:
                yield f"{name} must allow at least one value, got none: every unit would be rejected; omit it to allow any"
        for image in self.images or ():
            yield check_pattern("images", image, pattern=r"[\w.:/@*?-]{1,255}", allowed="patterns of image URIs")
        for kind in self.instance_types or ():
            yield check_pattern(
                "instance_types", kind, pattern=r"[a-z0-9.*?-]{1,64}", allowed="patterns of types such as 'ml.m5.*'"
            )
        for region in self.regions or ():
            yield check_pattern(
                "regions", region, pattern=r"[a-z]{2}(-[a-z]+)+-\d", allowed="names such as 'eu-west-1'"
            )

    def _tag_problems(self) -> Iterator[str | None]:
        fixed = self.tags or {}
        yield from tag_problems("tags", fixed)
        for key in self.required_tags:
            yield None if key in UNIT_TAGS else _key_problem("required_tags", key)
        both = sorted(set(fixed) & set(self.required_tags))
        if both:
            yield f"required_tags must not contain keys that tags sets, got {', '.join(both)}; remove them from one of the two"


def tag_problems(name: str, tags: Mapping[str, str]) -> Iterator[str | None]:
    """Yield the problems of tags: https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html."""
    for key, value in tags.items():
        yield _key_problem(name, key)
        yield check_pattern(f"{name}[{key!r}]", value, pattern=_TAG_VALUE, allowed=f"1 to 256 {_TAG}")


def _key_problem(name: str, key: str) -> str | None:
    if key.startswith((_OWN_TAGS, "aws:")):
        return f"{name} must not contain {key!r}: prefix {_OWN_TAGS} is reserved for the unit and aws: for AWS; use another key"
    return check_pattern(name, key, pattern=_TAG_KEY, allowed=f"keys of 1 to 128 {_TAG}")


def log_days(retention: cdk.Duration) -> int:
    """Return the shortest retention that CloudWatch offers and that is at least as long as this one and at least a year.

    Example:
        >>> log_days(cdk.Duration.days(500)), log_days(cdk.Duration.days(30))
        (545, 365)
    """
    days = max(int(retention.to_days()), min(RETENTIONS))
    return min(offered for offered in RETENTIONS if offered >= days)
