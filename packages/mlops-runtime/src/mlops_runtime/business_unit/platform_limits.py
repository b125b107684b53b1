"""What loosens a platform's rules: each rule has an order, and a unit may only go its stricter way.

The same functions check what constructs are given, where a looser value is an error, and what templates say in the end, where raw
overrides are listed.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow
from mlops_runtime.rollout.verdict_request import FALSE_ALARM, TOLERATED_ERROR_SHARE
from mlops_runtime.wildcards import matches

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Loosening:
    """One value that is looser than a platform's rule: the rule's name, what it allows, what was found, what to do."""

    rule: str
    allowed: str
    found: str
    fix: str

    def message(self, platform: str) -> str:
        """Return the problem in one sentence.

        Example:
            >>> loose = Loosening(rule="regions", allowed="'eu-west-1'", found="'us-east-1'", fix="move the stack")
            >>> loose.message("retail")
            "regions of platform 'retail': 'eu-west-1', got 'us-east-1'; move the stack"
        """
        return f"{self.rule} of platform {platform!r}: {self.allowed}, got {self.found}; {self.fix}"


def loose_images(rules: PlatformRules, images: Mapping[str, str]) -> Iterator[Loosening]:
    """Yield images that no pattern of the platform stands for.

    Args:
        rules: The platform's.
        images: URIs by what they are for; what only a deployment knows matches ``*`` alone.
    """
    yield from _of_patterns("images", rules.images, images, fix="take an image of an allowed registry")


def loose_instance_types(rules: PlatformRules, types: Mapping[str, str]) -> Iterator[Loosening]:
    """Yield instance types that no pattern of the platform stands for.

    Args:
        rules: The platform's.
        types: Types by what they are for.
    """
    yield from _of_patterns("instance_types", rules.instance_types, types, fix="take an allowed type")


def loose_region(rules: PlatformRules, region: str | None) -> Iterator[Loosening]:
    """Yield a Region that is not allowed; ``None`` is not known, and could be any."""
    if rules.regions is not None and region not in rules.regions:
        found = "a stack that does not know its Region" if region is None else repr(region)
        yield Loosening(rule="regions", allowed=_names(rules.regions), found=found, fix="give the stack env= of one")


def loose_profile(rules: PlatformRules, profile: str) -> Iterator[Loosening]:
    """Yield a profile that is not allowed."""
    if rules.profiles is not None and profile not in rules.profiles:
        yield Loosening(
            rule="profiles", allowed=_names(rules.profiles), found=repr(profile), fix="give profile= one of these"
        )


def loose_tags(rules: PlatformRules, tags: Mapping[str, str]) -> Iterator[Loosening]:
    """Yield tags of the platform with another value or none, and keys without a value of the unit.

    Args:
        rules: The platform's.
        tags: Tags of the unit, or of one resource.
    """
    for key, value in sorted((rules.tags or {}).items()):
        if tags.get(key) != value:
            found = f"{key}={tags[key]!r}" if key in tags else f"no tag {key!r}"
            yield Loosening(rule="tags", allowed=f"{key}={value!r}", found=found, fix="leave this tag to the platform")
    missing = [key for key in rules.required_tags or () if not tags.get(key, "").strip()]
    if missing:
        yield Loosening(
            rule="required_tags",
            allowed=_all(rules.required_tags or ()),
            found=f"no value of {_all(missing)}",
            fix="give the unit these tags",
        )


def loose_network(rules: PlatformRules, vpc_id: str | None, subnet_ids: Collection[str]) -> Iterator[Loosening]:
    """Yield a network that is not the platform's, or subnets that are not among its.

    Args:
        rules: The platform's.
        vpc_id: Id of the network; ``None`` where it is another one, which has no id yet.
        subnet_ids: Ids of the subnets.
    """
    if rules.vpc_id is not None and vpc_id != rules.vpc_id:
        found = "a network of its own" if vpc_id is None else repr(vpc_id)
        yield Loosening(rule="network", allowed=repr(rules.vpc_id), found=found, fix="leave network out")
    elif rules.subnet_ids is not None:
        other = sorted(set(subnet_ids) - set(rules.subnet_ids))
        if other:
            yield Loosening(
                rule="network",
                allowed=_all(rules.subnet_ids),
                found=f"subnets {_all(other)}",
                fix="take these alone",
            )


def loose_key(rules: PlatformRules, key_arn: str | None) -> Iterator[Loosening]:
    """Yield a key that is not the platform's; ``None`` is one of the unit's own."""
    if rules.key_arn is not None and key_arn != rules.key_arn:
        found = "a key of its own" if key_arn is None else repr(key_arn)
        yield Loosening(rule="encryption_key_arn", allowed=repr(rules.key_arn), found=found, fix="leave the key out")


def loose_log_retention(rules: PlatformRules, days: float | None) -> Iterator[Loosening]:
    """Yield logs that are kept for too short a time; ``None`` is for ever."""
    yield from _at_least("log_retention", rules.log_days, math.inf if days is None else days, what="logs kept")


def loose_audit_retention(rules: PlatformRules, days: float | None) -> Iterator[Loosening]:
    """Yield audit records that are locked for too short a time; ``None`` is not at all."""
    yield from _at_least("audit_retention", rules.audit_days, 0 if days is None else days, what="records locked for")


def loose_approval(rules: PlatformRules, seconds: float | None) -> Iterator[Loosening]:
    """Yield an approval without a person, or one with more time than the platform gives.

    Args:
        rules: The platform's.
        seconds: How long after its registration a person may approve; ``None`` where no person has to.
    """
    limit = rules.approval_seconds
    if limit is not None and (seconds is None or seconds > limit):
        found = "approval by policy alone" if seconds is None else f"within {seconds / _DAY:g} days"
        yield Loosening(
            rule="weakest_approval",
            allowed=f"a person within {limit / _DAY:g} days",
            found=found,
            fix=f"give Approval.manual(timeout=Duration.days({limit / _DAY:g})) or less",
        )


def loose_organization(rules: PlatformRules, organizations: Collection[str]) -> Iterator[Loosening]:
    """Yield a statement that admits accounts and is not bound to the platform's organization alone."""
    if rules.organization_id is not None and set(organizations) != {rules.organization_id}:
        found = f"aws:PrincipalOrgID {_names(sorted(organizations))}" if organizations else "no aws:PrincipalOrgID"
        yield Loosening(
            rule="organization_id", allowed=repr(rules.organization_id), found=found, fix="add the condition"
        )


def loose_freeze(rules: PlatformRules, freeze: FreezeSpec) -> Iterator[Loosening]:
    """Yield times that the platform freezes and a unit's calendar does not."""
    for window in () if rules.freeze is None else rules.freeze.windows:
        if not _covers(freeze.windows, window):
            yield Loosening(
                rule="freeze",
                allowed=f"{window.name!r} from {window.start:%Y-%m-%dT%H:%MZ} to {window.end:%Y-%m-%dT%H:%MZ}",
                found="a calendar in which a part of that is free",
                fix="leave the platform's times in",
            )


def frozen_by_both(rules: PlatformRules, freeze: FreezeSpec) -> FreezeSpec:
    """Return a unit's calendar with the platform's windows added, in order of time.

    Args:
        rules: The platform's.
        freeze: The unit's own.
    """
    added = () if rules.freeze is None else rules.freeze.windows
    windows = {*freeze.windows, *added}
    return FreezeSpec(windows=tuple(sorted(windows, key=lambda window: (window.start, window.end, window.name))))


def loose_rollout(rules: PlatformRules, rollout: RolloutSpec) -> Iterator[Loosening]:
    """Yield what a rollout checks less than the platform's weakest: each part of it must be as strict or stricter.

    Args:
        rules: The platform's.
        rollout: The unit's.
    """
    weakest = rules.rollout
    if weakest is None:
        return
    for part in [each for each in _PARTS if each.is_asked(weakest)]:
        least, given = part.read(weakest), part.read(rollout)
        if given < least if part.is_lower_bound else given > least:
            bound = "at least" if part.is_lower_bound else "at most"
            yield Loosening(
                rule="weakest_rollout",
                allowed=f"{part.name} {_shown(least, part)} {bound}",
                found=f"{part.name} {_shown(given, part)}",
                fix=part.fix,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One number of a rollout, and which way is stricter."""

    name: str
    read: Callable[[RolloutSpec], float]
    is_lower_bound: bool
    fix: str
    unit: str = ""
    is_asked: Callable[[RolloutSpec], bool] = lambda _: True


def _first_step(rollout: RolloutSpec) -> float:
    return 100 if rollout.kind == "ALL_AT_ONCE" or rollout.percent is None else rollout.percent


def _or(value: float | None, without: float) -> float:
    return without if value is None else value


_PARTS = (
    _Part(
        name="first step",
        read=_first_step,
        is_lower_bound=False,
        fix="give a canary or linear rollout of a smaller share",
        unit=" %",
    ),
    _Part(name="bake", read=lambda r: r.bake, is_lower_bound=True, fix="lengthen bake", unit=" s"),
    _Part(
        name="max_bake",
        read=lambda r: max(r.bake, _or(r.max_bake, 0)),
        is_lower_bound=True,
        fix="lengthen max_bake",
        unit=" s",
    ),
    _Part(
        name="min_invocations",
        read=lambda r: r.min_invocations,
        is_lower_bound=True,
        fix="raise checks.min_invocations",
    ),
    _Part(
        name="probation",
        read=lambda r: _or(r.probation, 0),
        is_lower_bound=True,
        fix="lengthen checks.probation",
        unit=" s",
    ),
    _Part(name="retained_versions", read=lambda r: _or(r.keep, 1), is_lower_bound=True, fix="keep more versions"),
    _Part(
        name="synthetic_invocations",
        read=lambda r: _or(r.synthetic, 0),
        is_lower_bound=True,
        fix="raise checks.synthetic_invocations",
    ),
    _Part(
        name="max_error_count",
        read=lambda r: _or(r.max_error_count, math.inf),
        is_lower_bound=False,
        fix="give checks.max_error_count",
    ),
    _Part(
        name="alarm_period",
        read=lambda r: r.alarm_period,
        is_lower_bound=True,
        fix="lengthen checks.alarm_period, in which errors are counted",
        unit=" s",
        is_asked=lambda weakest: weakest.max_error_count is not None,
    ),
    _Part(
        name="tolerated_error_share",
        read=lambda r: _or(r.tolerated_error_share, TOLERATED_ERROR_SHARE),
        is_lower_bound=False,
        fix="lower checks.tolerated_error_share",
    ),
    _Part(
        name="false_alarm",
        read=lambda r: _or(r.false_alarm, FALSE_ALARM),
        is_lower_bound=True,
        fix="raise checks.false_alarm: below it, bad candidates pass too",
    ),
    _Part(
        name="max_latency",
        read=lambda r: _or(r.max_latency_ms, math.inf),
        is_lower_bound=False,
        fix="give checks.max_latency",
        unit=" ms",
    ),
    _Part(
        name="max_latency_ratio",
        read=lambda r: _or(r.max_latency_ratio, math.inf),
        is_lower_bound=False,
        fix="give checks.max_latency_ratio",
    ),
    _Part(
        name="shadow traffic",
        read=lambda r: 0 if r.shadow is None else r.shadow.bake,
        is_lower_bound=True,
        fix="give checks.shadow for as long",
        unit=" s",
    ),
)


def _shown(value: float, part: _Part) -> str:
    return "not given" if value == math.inf else f"{value:g}{part.unit}"


def _of_patterns(
    rule: str, patterns: Collection[str] | None, values: Mapping[str, str], *, fix: str
) -> Iterator[Loosening]:
    for name, value in values.items() if patterns is not None else ():
        if not any(matches(pattern, value) for pattern in patterns or ()):
            yield Loosening(rule=rule, allowed=_names(patterns or ()), found=f"{name} {value!r}", fix=fix)


def _at_least(rule: str, least: int | None, days: float, *, what: str) -> Iterator[Loosening]:
    if least is not None and days < least:
        yield Loosening(rule=rule, allowed=f"{least} days at least", found=f"{what} {days:g} days", fix="lengthen it")


def _covers(windows: Collection[FreezeWindow], wanted: FreezeWindow) -> bool:
    """Whether windows leave no instant of another one free."""
    reached = wanted.start
    for window in sorted(windows, key=lambda each: each.start):
        if window.start <= reached < window.end:
            reached = window.end
    return reached >= wanted.end


def _names(values: Collection[str]) -> str:
    return " or ".join(map(repr, values)) if values else "none"


def _all(values: Collection[str]) -> str:
    return " and ".join(map(repr, values)) if values else "none"
