"""The orders of a platform's rules: no looser value passes, no tighter one is refused, as an oracle says that knows no order."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.business_unit.automation import freeze_at
from mlops_runtime.business_unit.platform_limits import (
    Loosening,
    frozen_by_both,
    loose_approval,
    loose_audit_retention,
    loose_freeze,
    loose_images,
    loose_instance_types,
    loose_key,
    loose_log_retention,
    loose_network,
    loose_organization,
    loose_profile,
    loose_region,
    loose_rollout,
    loose_tags,
)
from mlops_runtime.contracts.platform_rules import PlatformRules
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import ShadowSpec
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow

DAY_ZERO = datetime(2027, 1, 1, tzinfo=UTC)
FEW = st.integers(0, 6)
TYPES = ("ml.m5.large", "ml.m5.xlarge", "ml.c7g.large", "ml.p4d.24xlarge", "ml.m5d.large")
PATTERNS = ("ml.m5.*", "ml.*", "*.large", "ml.c7g.large", "ml.m5?.large", "*")

# each number of a rollout, and what it would let through: a candidate with these properties, seen so often and so long, passes
NUMBERS: dict[str, tuple[int, ...]] = {
    "percent": (5, 20, 50),
    "bake": (60, 600, 900),
    "max_bake": (0, 60, 900),
    "min_invocations": (0, 20),
    "probation": (0, 7200),
    "keep": (1, 3),
    "synthetic": (0, 10),
    "max_error_count": (0, 5, 99),
    "max_latency_ms": (100, 800, 99_999),
    "shadow": (0, 300),
}


def _rules(**rules: Any) -> PlatformRules:
    return PlatformRules(platform="retail", **rules)


def _names(found: Iterator[Loosening]) -> list[str]:
    return [loose.rule for loose in found]


def _rollout(numbers: dict[str, int | None]) -> RolloutSpec:
    shadow = numbers.get("shadow")
    plain = {name: value for name, value in numbers.items() if name != "shadow" and value is not None}
    return RolloutSpec(
        kind="CANARY" if "percent" in plain else "ALL_AT_ONCE",
        maximum=9999,
        shadow=None if not shadow else ShadowSpec(percent=100, bake=shadow),
        **{"bake": 0, **plain},  # type: ignore[arg-type]
    )


def _passes(rollout: RolloutSpec, candidate: dict[str, float]) -> bool:
    """Whether a rollout, as the Deploy machine carries it out, lets a candidate pass of which so much was seen."""
    exposed = 100 if rollout.kind == "ALL_AT_ONCE" else rollout.percent or 100
    longest = max(rollout.bake, rollout.max_bake or 0)
    checks = (
        candidate["share"] <= exposed,  # harm to so many callers in the first step
        candidate["baked"] >= rollout.bake,
        candidate["baked_where_few_call"] >= longest,
        candidate["calls"] >= rollout.min_invocations,
        candidate["watched"] >= (rollout.probation or 0),
        candidate["synthetic"] >= (rollout.synthetic or 0),
        candidate["kept"] >= (rollout.keep or 1),
        candidate["mirrored"] >= (0 if rollout.shadow is None else rollout.shadow.bake),
        rollout.max_error_count is None or candidate["errors"] <= rollout.max_error_count,
        rollout.max_latency_ms is None or candidate["latency"] <= rollout.max_latency_ms,
    )
    return all(checks)


LENIENT: dict[str, float] = {
    "share": 0,
    "baked": 1e9,
    "baked_where_few_call": 1e9,
    "calls": 1e9,
    "watched": 1e9,
    "synthetic": 1e9,
    "kept": 1e9,
    "mirrored": 1e9,
    "errors": 0,
    "latency": 0,
}
SEEN: dict[str, tuple[float, ...]] = {
    "share": (5, 20, 50, 100),
    "baked": (0, 60, 600, 900),
    "baked_where_few_call": (0, 60, 600, 900),
    "calls": (0, 20),
    "watched": (0, 7200),
    "synthetic": (0, 10),
    "kept": (1, 3),
    "mirrored": (0, 300),
    "errors": (0, 5, 99, 1e9),
    "latency": (100, 800, 99_999, 1e9),
}


def _lets_more_pass(unit: RolloutSpec, platform: RolloutSpec) -> bool:
    """Whether there is a candidate that a unit's rollout lets pass and the platform's stops: one property decides each check."""
    return any(
        _passes(unit, candidate) and not _passes(platform, candidate)
        for name, values in SEEN.items()
        for value in values
        for candidate in ({**LENIENT, name: value},)
    )


NUMBERS_OF_A_ROLLOUT = st.fixed_dictionaries(
    {name: st.sampled_from((None, *values)) for name, values in NUMBERS.items()}
)


@given(platform=NUMBERS_OF_A_ROLLOUT, data=st.data())
@settings(max_examples=600, deadline=None)
def test_a_rollout_is_refused_exactly_where_it_lets_more_pass(
    platform: dict[str, int | None], data: st.DataObject
) -> None:
    """No looser one passes, no tighter one is refused: of rollouts that differ in one number, in two, in any."""
    changed = data.draw(st.sampled_from([[*NUMBERS], *([one, other] for one in NUMBERS for other in NUMBERS)]))
    unit = {**platform, **{name: data.draw(st.sampled_from((None, *NUMBERS[name]))) for name in changed}}
    rules = _rules(rollout=_rollout(platform))

    assert bool(list(loose_rollout(rules, _rollout(unit)))) == _lets_more_pass(_rollout(unit), _rollout(platform))
    assert list(loose_rollout(rules, _rollout(platform))) == []


@pytest.mark.parametrize(
    ("platform", "unit", "is_refused"),
    [
        ({}, {"tolerated_error_share": 0.0005}, False),
        ({}, {"tolerated_error_share": 0.001}, True),
        ({"tolerated_error_share": 0.01}, {}, False),
        ({"false_alarm": 0.05}, {}, True),
        ({}, {"false_alarm": 0.05}, False),
        ({"max_latency_ratio": 2.0}, {}, True),
        ({"max_latency_ratio": 2.0}, {"max_latency_ratio": 1.5}, False),
        ({}, {"alarm_period": 10}, False),
        ({"max_error_count": 5}, {"max_error_count": 5, "alarm_period": 10}, True),
        ({"max_error_count": 5}, {"max_error_count": 5, "alarm_period": 300}, False),
    ],
)
def test_limits_that_are_left_out_are_the_librarys(
    platform: dict[str, Any], unit: dict[str, Any], is_refused: bool
) -> None:
    """Where a rollout names none, the comparison tolerates 0.0005 and stops one acceptable candidate in a hundred."""
    base = RolloutSpec(kind="CANARY", bake=60, maximum=9999, percent=10)
    found = list(loose_rollout(_rules(rollout=replace(base, **platform)), replace(base, **unit)))

    assert bool(found) == is_refused


@given(patterns=st.sets(st.sampled_from(PATTERNS), min_size=1), kind=st.sampled_from(TYPES))
def test_types_and_images_are_allowed_by_any_pattern(patterns: Collection[str], kind: str) -> None:
    """As a shell matches; what is allowed by one pattern is allowed."""
    is_allowed = any(fnmatchcase(kind, pattern) for pattern in patterns)

    assert _names(loose_instance_types(_rules(instance_types=tuple(patterns)), {"type": kind})) == [
        *([] if is_allowed else ["instance_types"])
    ]
    assert _names(loose_images(_rules(images=tuple(patterns)), {"image": kind})) == [
        *([] if is_allowed else ["images"])
    ]
    assert _names(loose_images(_rules(), {"image": kind})) == []


@given(least=st.integers(1, 9), days=st.one_of(st.none(), st.integers(0, 12)))
def test_times_are_as_long_or_longer(least: int, days: int | None) -> None:
    """Logs without an end are kept longest, records without a lock not at all."""
    assert bool(list(loose_log_retention(_rules(log_days=least), days))) == (days is not None and days < least)
    assert bool(list(loose_audit_retention(_rules(audit_days=least), days))) == (days is None or days < least)
    assert [*loose_log_retention(_rules(), days), *loose_audit_retention(_rules(), days)] == []


@given(limit=st.integers(1, 9), seconds=st.one_of(st.none(), st.integers(1, 12)))
def test_a_person_approves_in_as_little_time(limit: int, seconds: int | None) -> None:
    """No person at all is weaker than any."""
    found = list(loose_approval(_rules(approval_seconds=limit), seconds))

    assert bool(found) == (seconds is None or seconds > limit)
    assert list(loose_approval(_rules(), seconds)) == []


def _calendar(spans: Collection[tuple[int, int]]) -> FreezeSpec:
    days = [(min(a, b), max(a, b) + 1) for a, b in spans]
    return FreezeSpec(
        windows=tuple(
            FreezeWindow(name=f"{n}", start=DAY_ZERO + timedelta(days=a), end=DAY_ZERO + timedelta(days=b))
            for n, (a, b) in enumerate(days)
        )
    )


CALENDARS = st.lists(st.tuples(FEW, FEW), max_size=3).map(_calendar)
INSTANTS = [DAY_ZERO + timedelta(hours=hours) for hours in range(0, 8 * 24, 12)]


@given(unit=CALENDARS, platform=CALENDARS)
def test_a_calendar_is_refused_where_a_frozen_instant_is_free(unit: FreezeSpec, platform: FreezeSpec) -> None:
    """Windows that join cover one that spans them, and the platform's are added to the unit's."""
    rules = _rules(freeze=platform)
    free = [at for at in INSTANTS if freeze_at(platform, at) and not freeze_at(unit, at)]
    both = frozen_by_both(rules, unit)

    assert bool(list(loose_freeze(rules, unit))) == bool(free)
    assert list(loose_freeze(rules, both)) == []
    assert [at for at in INSTANTS if freeze_at(both, at)] == [
        at for at in INSTANTS if freeze_at(platform, at) or freeze_at(unit, at)
    ]
    assert list(both.windows) == sorted(both.windows, key=lambda each: (each.start, each.end, each.name))


def test_lists_allow_what_they_name() -> None:
    """A Region that is not known could be any."""
    for rule, check in (("regions", loose_region), ("profiles", loose_profile)):
        rules = _rules(**{rule: ("one", "two")})
        assert _names(check(rules, "one")) == []
        assert _names(check(rules, "three")) == [rule]
        assert _names(check(_rules(), "three")) == []
    assert "without a Region" in next(loose_region(_rules(regions=("one",)), None)).found


@pytest.mark.parametrize(
    ("tags", "rules_broken"),
    [
        ({"platform": "retail", "class": "a", "team": "b", "more": "c"}, []),
        ({"platform": "other", "class": "a", "team": "b"}, ["tags"]),
        ({"class": "a", "team": "b"}, ["tags"]),
        ({"platform": "retail", "class": " ", "team": "b"}, ["required_tags"]),
        ({}, ["tags", "required_tags"]),
    ],
)
def test_tags_are_fixed_or_required(tags: dict[str, str], rules_broken: list[str]) -> None:
    """A superset is tighter; every missing key is in one problem."""
    rules = _rules(tags={"platform": "retail"}, required_tags=("class", "team"))

    assert _names(loose_tags(rules, tags)) == rules_broken


@pytest.mark.parametrize(
    ("vpc", "subnets", "is_refused"),
    [
        ("vpc-1", {"subnet-1"}, False),
        ("vpc-1", {"subnet-1", "subnet-2"}, False),
        ("vpc-1", {"subnet-1", "subnet-3"}, True),
        ("vpc-2", {"subnet-1"}, True),
        (None, set(), True),
    ],
)
def test_a_network_is_the_platforms_or_a_part(vpc: str | None, subnets: set[str], is_refused: bool) -> None:
    """Fewer subnets are tighter."""
    rules = _rules(vpc_id="vpc-1", subnet_ids=("subnet-1", "subnet-2"))

    assert bool(list(loose_network(rules, vpc, subnets))) == is_refused
    assert list(loose_network(_rules(), vpc, subnets)) == []


def test_key_and_organization_are_the_platforms() -> None:
    """One more organization admits more."""
    key = _rules(key_arn="arn:aws:kms:eu-west-1:1:key/2")
    organization = _rules(organization_id="o-a1b2c3d4e5")

    assert [_names(loose_key(key, each)) for each in ("arn:aws:kms:eu-west-1:1:key/2", "x", None)] == [
        [],
        ["encryption_key_arn"],
        ["encryption_key_arn"],
    ]
    found = product([organization, _rules()], [["o-a1b2c3d4e5"], [], ["o-a1b2c3d4e5", "o-other00000"]])
    assert [bool(list(loose_organization(*each))) for each in found] == [False, True, True, False, False, False]


def test_a_message_names_platform_rule_both_values_and_fix() -> None:
    """What people need to go on."""
    (loose,) = loose_log_retention(_rules(log_days=400), 7)

    assert loose.message("retail") == (
        "log_retention of platform 'retail': at least 400 days, got logs kept 7 days; lengthen it"
    )
