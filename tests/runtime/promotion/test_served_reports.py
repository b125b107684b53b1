"""Accepted reports: senders, environments, releases and order."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.released import SOURCE, TARGET
from tests.reported import (
    ONE,
    PRODUCTION,
    RELEASES,
    SETTINGS,
    STAGING,
    TWO,
    at,
    event,
    state,
    version,
    with_detail,
    with_fields,
)

from mlops_runtime.contracts.served_model import ServedState
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment
from mlops_runtime.promotion.served_reports import (
    MOST_STATES,
    IgnoredReportError,
    bus_event,
    champion_of,
    champion_pointer,
    kept_with,
    reported_state,
    target_event,
    with_releases,
)

NOW = datetime(2017, 8, 1, 9, 1, tzinfo=UTC)
OTHER = LinkedEnvironment(account="444444444444", region="eu-west-1")


def reported(reported: object) -> ServedState:
    """Return the report of a message."""
    body = reported if isinstance(reported, str) else json.dumps(reported)
    found = target_event(bus_event(body), settings=SETTINGS, now=NOW)
    return reported_state(found, settings=SETTINGS, now=NOW)


def test_a_target_speaks_for_itself() -> None:
    """By the name that the source gives it."""
    assert reported(event()) == state(name="staging", via="staging")


def test_a_target_speaks_for_environments_behind_it() -> None:
    """By the target's own names."""
    found = reported(event(state(PRODUCTION)))

    assert (found.name, found.account, found.hops, found.via) == ("production", PRODUCTION.account, 2, "staging")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"account": OTHER.account}, "444444444444 eu-west-1 is not a target of demand-forecast; listed: 222222222222"),
        ({"region": "us-east-1"}, "222222222222 us-east-1 is not a target"),
        ({"account": None}, "None eu-west-1 is not a target"),
        ({"source": "mlops.pricing"}, "source is 'mlops.pricing', not 'mlops.demand'"),
        ({"source": "mlops.demand/AROAEXAMPLE:eve"}, "source is 'mlops.demand/AROAEXAMPLE:eve'"),
        ({"detail-type": "MLOps Model Released"}, "'MLOps Model Released' is not an event that a target sends"),
        (with_detail(subject="demand-returns"), "group is 'demand-returns', not 'demand-forecast'"),
        (with_detail(id="white space"), "its id is malformed"),
        ({"id": "white space"}, "its id is malformed"),
        ({"time": "2017-07-31T07:00:00Z"}, "event of 2017-07-31"),
        ({"time": "2017-08-01T09:10:00Z"}, "event of 2017-08-01T09:10"),
        ({"detail": {"id": 1}}, "id"),
        (with_detail(attributes={}), "staging"),
        (with_detail(attributes={"served": "{}"}), "staging"),
        (with_fields(account=OTHER.account), "reports 444444444444 eu-west-1 as its own environment"),
        (with_fields(region="us-east-1"), "reports 222222222222 us-east-1 as its own environment"),
        (with_fields(hops=2, name="production"), "reports on staging, which reports on itself"),
        (with_fields(hops=2, name="staging", account="333333333333"), "reports on staging"),
        (with_fields(hops=2, name="production", account=SOURCE.account), "reports on its own source"),
        (with_fields(hops=2, name="a name", account="333333333333"), "name is 'a name'"),
        (with_fields(hops=2, name="production", account="3"), "account is '3'"),
        (with_fields(hops=2, name="production", account="333333333333", region="../x"), "region is '../x'"),
        (with_fields(hops=9, name="production", account="333333333333"), "hops is 9, must be 1 to 8"),
        (with_fields(hops=0), "hops is 0"),
        (with_fields(sequence=0), "record 0"),
        (with_fields(at="yesterday"), "'yesterday' is not a time"),
        (with_fields(at="2017-08-02T00:00:00Z"), "2017-08-02T00:00:00Z is in the future"),
        (with_fields(format="mlops.served/2"), "format"),
        (
            with_fields(
                serves={"model_sha256": "b" * 64, "binding": "../x", "version": "demand-forecast/3", "at": at(1)}
            ),
            "'../x' are not hashes",
        ),
        (
            with_fields(serves={"model_sha256": "b" * 64, "binding": "b" * 64, "version": "<b>", "at": at(1)}),
            "version is '<b>'",
        ),
        (
            with_fields(
                rolled_back=[
                    {"model_sha256": "b" * 64, "binding": "b" * 64, "version": "demand-forecast/3", "at": at(1)}
                ]
                * 11
            ),
            "11 versions rolled back",
        ),
    ],
)
def test_everything_else_changes_nothing_and_is_named(changes: dict[str, Any], named: str) -> None:
    """Of an unlisted account, forged, stale, or about another unit, group or environment."""
    with pytest.raises(IgnoredReportError) as error:
        reported({**event(), **changes})
    assert named in str(error.value)


@pytest.mark.parametrize("body", ["", "[]", "x" * 300_000, '{"id": "1"}'])
def test_a_message_that_is_not_an_event_is_refused(body: str) -> None:
    """By the codec, or by its length."""
    with pytest.raises(IgnoredReportError):
        reported(body)


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)), st.data()
)
def test_no_content_of_a_state_is_an_error_of_its_own(value: object, data: st.DataObject) -> None:
    """A compromised target may send anything."""
    field = data.draw(st.sampled_from([*ServedState.__slots__]))
    try:
        reported({**event(), **with_fields(**{field: value})})
    except IgnoredReportError:
        return


def test_versions_get_the_sources_own_names() -> None:
    """By the release's binding; the model's hash must match it."""
    reported = state(rolled_back=(version(TWO, number=4, minute=20),))
    found = with_releases(reported, RELEASES, group="demand-forecast")

    assert found.serves is not None
    assert (found.serves.released_as, found.rolled_back[0].released_as) == ("demand-forecast/7", "demand-forecast/8")


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        (state(serves=version(binding="f" * 64)), "release ffffffffffffffff, of demand-forecast/3, was not made here"),
        (state(serves=version(model_sha256="f" * 64)), "is of model bbbbbbbbbbbbbbbb, not ffffffffffffffff"),
        (state(rolled_back=(version(binding="f" * 64),)), "was not made here"),
    ],
)
def test_a_model_that_was_not_released_is_named(expected: ServedState, named: str) -> None:
    """The digest is the identity."""
    with pytest.raises(IgnoredReportError) as error:
        with_releases(expected, RELEASES, group="demand-forecast")
    assert named in str(error.value)
    with pytest.raises(IgnoredReportError, match="was not made here"):
        with_releases(state(), RELEASES, group="demand-returns")


def test_the_newest_state_of_an_environment_is_kept() -> None:
    """Next to others; earlier rollbacks are kept, newest first."""
    other = state(PRODUCTION, via="staging")
    first = state(name="staging", via="staging", rolled_back=(version(TWO, number=4, minute=5),))
    kept = kept_with(
        [other, first], replace(first, at=at(30), sequence=9, rolled_back=(version(TWO, number=5, minute=25),))
    )

    assert kept[0] == other
    assert (kept[1].sequence, [each.version for each in kept[1].rolled_back]) == (
        9,
        ["demand-forecast/5", "demand-forecast/4"],
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "is known"),
        ({"at": at(5), "sequence": 3}, "is stale: record 4"),
        ({"sequence": 3}, "is stale: record 4"),
        ({"serves": None}, "was reported with other content"),
    ],
)
def test_what_is_not_newer_changes_nothing(changes: dict[str, Any], named: str) -> None:
    """A replay, a late older event, and two contents of one record."""
    known = state(name="staging", via="staging")
    with pytest.raises(IgnoredReportError) as error:
        kept_with([known], replace(known, **changes))
    assert named in str(error.value)


def test_a_chain_that_begins_anew_is_believed() -> None:
    """A target destroyed and deployed again starts at record one; time continues."""
    known = state(name="staging", via="staging", sequence=40)
    (kept,) = kept_with([known], replace(known, at=at(50), sequence=1))

    assert kept.sequence == 1


def test_a_source_keeps_a_bounded_number_of_environments() -> None:
    """A compromised target may name any number."""
    many = [state(PRODUCTION, via="staging", account=f"{number:012d}") for number in range(MOST_STATES)]
    with pytest.raises(IgnoredReportError, match="which is the maximum"):
        kept_with(many, state(name="staging", via="staging"))


def test_the_champion_is_what_the_farthest_environment_serves() -> None:
    """Or the named one; none if that serves or reported nothing."""
    staging, production = state(name="staging", via="staging"), state(PRODUCTION, via="staging")
    empty = replace(production, serves=None)
    targets = SETTINGS.targets

    assert champion_of([], targets=targets) is None
    assert champion_of([staging, production], targets=targets) == production
    assert champion_of([staging, empty], targets=targets) is None
    assert champion_of([staging, production], targets=targets, name="staging") == staging
    assert champion_of([staging, production], targets=targets, name="recovery") is None
    assert champion_of([replace(production, via="gone"), staging], targets=targets) == staging


def test_of_several_ends_the_first_target_decides() -> None:
    """In the order of the list."""
    second = NamedEnvironment(name="america", account="444444444444", region="us-east-1")
    first, other = state(name="staging", via="staging"), state(name="america", via="america")

    assert champion_of([other, first], targets=(STAGING, second)) == first
    assert champion_of([other, first], targets=(second, STAGING)) == other


def test_a_champion_is_the_sources_own_package() -> None:
    """The source's jobs read their own bucket."""
    pointer = champion_pointer(state(PRODUCTION), ONE.record)

    assert pointer.model_package_arn == ONE.record.package.package_arn
    assert (pointer.artifact_uri, pointer.artifact_sha256) == (
        ONE.record.package.artifact_uri,
        ONE.record.artifact.sha256,
    )
    assert (pointer.endpoint, pointer.config) == ("demand-forecast.downstream", "production demand-forecast/3")
    assert TARGET.account not in pointer.model_package_arn
