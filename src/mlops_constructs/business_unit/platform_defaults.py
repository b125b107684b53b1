"""What a platform team declares once, in a package of its own, and every unit takes and may only tighten."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._unit_resources import RETENTIONS
from mlops_constructs._validation import check_duration, check_pattern
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
# a parameter of the standard tier: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
_MAXIMUM_CHARACTERS = 4096
_OWN_TAGS = "mlops:"
# keys to which every unit gives a value, for its owner or by its name
UNIT_TAGS = ("mlops:owner", "mlops:cost-center")


@checked("InvalidPlatformDefaults")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformDefaults:
    """Defaults and limits of a platform: a unit that is given them takes them, tightens them, and never loosens them.

    Each field has an order. A unit, or a construct of it, that would loosen one is refused at synthesis with the rule, both values
    and the fix. What raw overrides of a template loosen is possible, and listed by the compliance report.

    Args:
        name: Name of the platform in errors: 2 to 32 lower-case letters, digits, hyphens.
        organization_id: Organization of all accounts, such as ``o-a1b2c3d4e5``: policies of the unit that admit accounts ask for
            it. Default: accounts are not bound to one.
        platform: Terraform estate that hands over network and key. Default: none does.
        network: Network of every unit, ``Network.from_shared_vpc(...)``; a unit may take fewer of its subnets. Default: the unit's.
        encryption_key_arn: Key of all data. Default: the unit's.
        images: Patterns of image URIs, such as ``("111122223333.dkr.ecr.*.amazonaws.com/mlops/*",)``; ``*`` also stands for what
            only a deployment knows. Default: any image.
        instance_types: Patterns of instance types, such as ``("ml.m5.*", "ml.c7g.*")``. Default: any type.
        regions: Regions in which a unit's stacks may be; each stack then needs its ``env``. Default: any.
        profiles: Profiles that a unit may have; ``DEVELOPMENT`` locks no records and deletes its data. Default: both.
        tags: Tags of every resource of the unit's stacks. Default: the unit's own alone.
        required_tags: Keys of tags to which each unit gives values by ``tags=``; ``mlops:owner`` and ``mlops:cost-center`` by
            ``owner=`` and ``cost_center=``. Default: none.
        log_retention: How long logs are kept at least, rounded up to what CloudWatch offers. Default: a year.
        audit_retention: How long audit records are locked at least, in PRODUCTION. Default: a year.
        weakest_approval: ``Approval.manual(timeout=...)``: a person approves, within that time at most.
            Default: as each registry says.
        weakest_rollout: Each part of a unit's rollout is as strict or stricter: a first step as small, bakes and probation as long,
            as much evidence, limits as low. Default: any rollout.
        freeze: Times that are added to each unit's calendar. Default: none.
        fleet: Whether the account's ``FleetReader`` reads what models of the unit do: tables and buckets of their state get the tag
            by which it does, and these buckets decide by tags. Default: it reads none of them.

    Raises:
        ValidationError: With every value that is not possible.

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
        """The limits as data: the same for the same declaration."""
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
            yield "weakest_approval must be Approval.manual(), got Approval.automatic(), the weakest of all; leave it out"

    def _known_problems(self) -> Iterator[str]:
        """Constructs make no part of rules: they belong to one app, and defaults are those of many."""
        approval, rollout = self.weakest_approval, self.weakest_rollout
        if approval is not None and any((approval.topic, approval.approver, approval.chat_topic)):
            yield "weakest_approval must name no topic or role, which are a unit's; give the timeout alone"
        if rollout is not None and (rollout.checks.alarms or rollout.checks.probation_alarms or rollout.checks.metrics):
            yield "weakest_rollout must name no alarms or metrics, which are a model's; leave them out of its checks"

    def _network_problems(self) -> Iterator[str | None]:
        network = self.network
        if network is not None and self.platform is not None:
            yield "network must be left out beside platform, which hands one over"
        if self.encryption_key_arn is not None and self.platform is not None:
            yield "encryption_key_arn must be left out beside platform, which hands a key over"
        if network is not None and network.shared_vpc_id is None:
            yield "network must be of Network.from_shared_vpc(...), got one that is made or belongs to one app; name it by ids"
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
                yield f"{name} must allow at least one, got none: every unit would be refused; leave it out for any"
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
            yield f"required_tags must not name what tags gives a value to, got {', '.join(both)}; leave them out of one"


def tag_problems(name: str, tags: Mapping[str, str]) -> Iterator[str | None]:
    """Yield why tags cannot stand beside a unit's own: https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html.

    Args:
        name: Name of the argument.
        tags: The tags.
    """
    for key, value in tags.items():
        yield _key_problem(name, key)
        yield check_pattern(f"{name}[{key!r}]", value, pattern=_TAG_VALUE, allowed=f"1 to 256 {_TAG}")


def _key_problem(name: str, key: str) -> str | None:
    if key.startswith((_OWN_TAGS, "aws:")):
        return f"{name} must not name {key!r}: {_OWN_TAGS} is the unit's own, aws: is that of AWS; take another key"
    return check_pattern(name, key, pattern=_TAG_KEY, allowed=f"keys of 1 to 128 {_TAG}")


def log_days(retention: cdk.Duration) -> int:
    """Return the shortest retention that CloudWatch offers and that is neither below this one nor below a year.

    Example:
        >>> log_days(cdk.Duration.days(500)), log_days(cdk.Duration.days(30))
        (545, 365)
    """
    days = max(int(retention.to_days()), min(RETENTIONS))
    return min(offered for offered in RETENTIONS if offered >= days)
