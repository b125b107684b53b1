"""Find values that are looser than a platform's rules: values of each rule are ordered, and a unit may only be stricter.

The same functions check arguments of constructs, for which a looser value is an error, and synthesized templates, to list raw
overrides.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow
from mlops_runtime.rollout.evidence_requests import FALSE_ALARM, TOLERATED_ERROR_SHARE
from mlops_runtime.wildcards import matches

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Loosening:
    """A value that is looser than a platform's rule: the rule, its allowed value, the value found, and the fix."""

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
    """Yield images that match no pattern of the platform.

    Args:
        rules: The platform's rules.
        images: URIs by purpose; a URI that is only known at deployment only matches ``*``.
    """
    yield from _of_patterns("images", rules.images, images, fix="use an image of an allowed registry")


def loose_instance_types(rules: PlatformRules, types: Mapping[str, str]) -> Iterator[Loosening]:
    """Yield instance types that match no pattern of the platform."""
    yield from _of_patterns("instance_types", rules.instance_types, types, fix="use an allowed type")


def loose_region(rules: PlatformRules, region: str | None) -> Iterator[Loosening]:
    """Yield a Region that is not allowed; ``None`` is an unknown Region, which is not allowed either."""
    if rules.regions is not None and region not in rules.regions:
        found = "a stack without a Region" if region is None else repr(region)
        yield Loosening(
            rule="regions", allowed=_names(rules.regions), found=found, fix="give the stack env= with an allowed Region"
        )


def loose_profile(rules: PlatformRules, profile: str) -> Iterator[Loosening]:
    """Yield a profile that is not allowed."""
    if rules.profiles is not None and profile not in rules.profiles:
        yield Loosening(
            rule="profiles", allowed=_names(rules.profiles), found=repr(profile), fix="set profile= to one of these"
        )


def loose_tags(rules: PlatformRules, tags: Mapping[str, str]) -> Iterator[Loosening]:
    """Yield tags of the platform that are missing or have another value, and required tags without a value."""
    for key, value in sorted((rules.tags or {}).items()):
        if tags.get(key) != value:
            found = f"{key}={tags[key]!r}" if key in tags else f"no tag {key!r}"
            yield Loosening(
                rule="tags", allowed=f"{key}={value!r}", found=found, fix="omit this tag, which the platform sets"
            )
    missing = [key for key in rules.required_tags or () if not tags.get(key, "").strip()]
    if missing:
        yield Loosening(
            rule="required_tags",
            allowed=_all(rules.required_tags or ()),
            found=f"no value for {_all(missing)}",
            fix="give the unit these tags",
        )


def loose_network(rules: PlatformRules, vpc_id: str | None, subnet_ids: Collection[str]) -> Iterator[Loosening]:
    """Yield a network other than the platform's, or subnets that the platform does not allow.

    Args:
        rules: The platform's rules.
        vpc_id: Id of the network; ``None`` for a network that is created and has no id yet.
    """
    if rules.vpc_id is not None and vpc_id != rules.vpc_id:
        found = "a network of its own" if vpc_id is None else repr(vpc_id)
        yield Loosening(rule="network", allowed=repr(rules.vpc_id), found=found, fix="omit network")
    elif rules.subnet_ids is not None:
        other = sorted(set(subnet_ids) - set(rules.subnet_ids))
        if other:
            yield Loosening(
                rule="network", allowed=_all(rules.subnet_ids), found=f"subnets {_all(other)}", fix="use only these"
            )


def loose_key(rules: PlatformRules, key_arn: str | None) -> Iterator[Loosening]:
    """Yield a key other than the platform's; ``None`` stands for a key that the unit creates."""
    if rules.key_arn is not None and key_arn != rules.key_arn:
        found = "a key of its own" if key_arn is None else repr(key_arn)
        yield Loosening(rule="encryption_key_arn", allowed=repr(rules.key_arn), found=found, fix="omit the key")


def loose_log_retention(rules: PlatformRules, days: float | None) -> Iterator[Loosening]:
    """Yield a log retention that is too short; ``None`` stands for unlimited retention."""
    yield from _at_least("log_retention", rules.log_days, math.inf if days is None else days, what="logs kept")


def loose_audit_retention(rules: PlatformRules, days: float | None) -> Iterator[Loosening]:
    """Yield an object lock of audit records that is too short; ``None`` stands for no lock."""
    yield from _at_least("audit_retention", rules.audit_days, 0 if days is None else days, what="records locked for")


def loose_approval(rules: PlatformRules, seconds: float | None) -> Iterator[Loosening]:
    """Yield an approval without a person, or with a longer timeout than the platform allows.

    Args:
        rules: The platform's rules.
        seconds: Time after registration in which a person may approve; ``None`` for automatic approval.
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
    """Yield a policy statement for other accounts that is not restricted to the platform's organization."""
    if rules.organization_id is not None and set(organizations) != {rules.organization_id}:
        found = f"aws:PrincipalOrgID {_names(sorted(organizations))}" if organizations else "no aws:PrincipalOrgID"
        yield Loosening(
            rule="organization_id", allowed=repr(rules.organization_id), found=found, fix="add the condition"
        )


def loose_freeze(rules: PlatformRules, freeze: FreezeSpec) -> Iterator[Loosening]:
    """Yield freeze windows of the platform that a unit's calendar does not cover."""
    for window in () if rules.freeze is None else rules.freeze.windows:
        if not _covers(freeze.windows, window):
            yield Loosening(
                rule="freeze",
                allowed=f"{window.name!r} from {window.start:%Y-%m-%dT%H:%MZ} to {window.end:%Y-%m-%dT%H:%MZ}",
                found="a calendar that does not cover all of it",
                fix="keep the platform's freezes",
            )


def frozen_by_both(rules: PlatformRules, freeze: FreezeSpec) -> FreezeSpec:
    """Return a unit's calendar with the platform's windows added, sorted by time."""
    added = () if rules.freeze is None else rules.freeze.windows
    windows = {*freeze.windows, *added}
    return FreezeSpec(windows=tuple(sorted(windows, key=lambda window: (window.start, window.end, window.name))))


def loose_rollout(rules: PlatformRules, rollout: RolloutSpec) -> Iterator[Loosening]:
    """Yield the parts of a rollout that are less strict than in the platform's weakest rollout."""
    weakest = rules.rollout
    if weakest is None:
        return
    for part in [each for each in _PARTS if each.is_limited(weakest)]:
        least, given = part.read(weakest), part.read(rollout)
        if given < least if part.is_lower_bound else given > least:
            bound = "at least" if part.is_lower_bound else "at most"
            yield Loosening(
                rule="weakest_rollout",
                allowed=f"{part.name} {_shown(least, part)} {bound}",
                found=f"{part.name} {_shown(given, part)}",
                fix=part.fix,
            )


@dataclass(frozen=True, slots=True)
class _Part:
    """One number of a rollout, and the direction in which it is stricter."""

    name: str
    read: Callable[[RolloutSpec], float]
    fix: str
    unit: str = ""
    is_lower_bound: bool = True
    is_limited: Callable[[RolloutSpec], bool] = lambda _: True


def _first_step(rollout: RolloutSpec) -> float:
    return 100 if rollout.kind == "ALL_AT_ONCE" or rollout.percent is None else rollout.percent


def _or(value: float | None, without: float) -> float:
    return without if value is None else value


_PARTS = (
    _Part("first step", _first_step, "use a canary or linear rollout with a smaller share", " %", is_lower_bound=False),
    _Part("bake", lambda r: r.bake, "lengthen bake", " s"),
    _Part("max_bake", lambda r: max(r.bake, _or(r.max_bake, 0)), "lengthen max_bake", " s"),
    _Part("min_invocations", lambda r: r.min_invocations, "raise checks.min_invocations"),
    _Part("probation", lambda r: _or(r.probation, 0), "lengthen checks.probation", " s"),
    _Part("retained_versions", lambda r: _or(r.keep, 1), "keep more versions"),
    _Part("synthetic_invocations", lambda r: _or(r.synthetic, 0), "raise checks.synthetic_invocations"),
    _Part(
        "max_error_count",
        lambda r: _or(r.max_error_count, math.inf),
        "give checks.max_error_count",
        is_lower_bound=False,
    ),
    _Part(
        "alarm_period",
        lambda r: r.alarm_period,
        "lengthen checks.alarm_period, in which errors are counted",
        " s",
        is_limited=lambda weakest: weakest.max_error_count is not None,
    ),
    _Part(
        "tolerated_error_share",
        lambda r: _or(r.tolerated_error_share, TOLERATED_ERROR_SHARE),
        "lower checks.tolerated_error_share",
        is_lower_bound=False,
    ),
    _Part(
        "false_alarm",
        lambda r: _or(r.false_alarm, FALSE_ALARM),
        "raise checks.false_alarm: a lower value lets more bad candidates pass",
    ),
    _Part(
        "max_latency", lambda r: _or(r.max_latency_ms, math.inf), "give checks.max_latency", " ms", is_lower_bound=False
    ),
    _Part(
        "max_latency_ratio",
        lambda r: _or(r.max_latency_ratio, math.inf),
        "give checks.max_latency_ratio",
        is_lower_bound=False,
    ),
    _Part(
        "shadow traffic",
        lambda r: 0 if r.shadow is None else r.shadow.bake,
        "give checks.shadow with at least this duration",
        " s",
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
        yield Loosening(rule=rule, allowed=f"at least {least} days", found=f"{what} {days:g} days", fix="lengthen it")


def _covers(windows: Collection[FreezeWindow], wanted: FreezeWindow) -> bool:
    """Return whether windows together cover another window completely."""
    reached = wanted.start
    for window in sorted(windows, key=lambda each: each.start):
        if window.start <= reached < window.end:
            reached = window.end
    return reached >= wanted.end


def _names(values: Collection[str]) -> str:
    return " or ".join(map(repr, values)) if values else "none"


def _all(values: Collection[str]) -> str:
    return " and ".join(map(repr, values)) if values else "none"
