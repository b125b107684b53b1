"""Permission to carry out a request; the plans' tests cover the results of rejections."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from tests.runtime.rollout.world import ENDPOINT, NOW, SPEC, World

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LockRow
from mlops_runtime.contracts.serving import VariantSpec
from mlops_runtime.rollout.deploy_plan import BusyError, Facts, NothingToDoError, RefusedError
from mlops_runtime.rollout.live_fleet import Serving, Variant, Version
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.permission import (
    approved,
    check_probation,
    check_quiet,
    check_variants,
    desired,
    settled,
)

FACTS = Facts(row=LockRow(endpoint=ENDPOINT), spec=SPEC, serving=None, package=None, alarm_states={}, group=ENDPOINT)
ARM = VariantSpec(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.25)


def request(reason: str, **changes: str) -> DeployRequest:
    """Return a request of the Deploy machine."""
    return DeployRequest(
        reason=DeployReason(reason), requested_by="ann", requested_at="2017-08-01T09:00:00Z", **changes
    )


def serving(status: str, failure: str = "") -> Serving:
    """Return an endpoint in a status."""
    return Serving(status=status, config="c", version=None, failure=failure)


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_what_is_under_way_ends_by_itself(status: str) -> None:
    """The request waits."""
    with pytest.raises(BusyError, match=f"the endpoint is {status}"):
        settled(serving(status))


@pytest.mark.parametrize(
    ("status", "fix"),
    [("Failed", "can only be deleted"), ("OutOfService", "can only be deleted"), ("UpdateRollbackFailed", "by hand")],
)
def test_what_cannot_be_updated_is_refused_with_the_way_out(status: str, fix: str) -> None:
    """Includes SageMaker's failure reason."""
    with pytest.raises(RefusedError, match=rf"is {status}: .*{fix}.*\(no capacity\)"):
        settled(serving(status, "no capacity"))


def test_what_rests_may_be_updated() -> None:
    """Or created, if it is missing."""
    assert settled(None) is None
    assert settled(serving("InService")) == serving("InService")


def test_fails_without_a_spec() -> None:
    """A spec is required to serve."""
    assert desired(FACTS) == SPEC
    with pytest.raises(RefusedError, match="no serving spec is stored yet"):
        desired(replace(FACTS, spec=None))


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (request("approval", model_package_arn="p"), "model package p does not exist"),
        (request("rollback", model_package_arn="p"), "model package p does not exist"),
        (request("rollback"), "there is no previous version"),
        (request("spec"), "was not created from a model package"),
    ],
)
def test_fails_without_a_package(requested: DeployRequest, message: str) -> None:
    """Each request names its missing package."""
    with pytest.raises(RefusedError, match=message):
        approved(requested, FACTS)


def test_only_an_alarm_is_held_to_a_probation(world: World) -> None:
    """A person's rollback needs no probation."""
    check_probation(request("rollback"), FACTS, NOW)
    check_probation(request("approval"), FACTS, NOW)
    with pytest.raises(NothingToDoError, match="refunds is not an alarm of the endpoint's probation"):
        check_probation(request("rollback", alarm="refunds"), FACTS, NOW)


@pytest.mark.parametrize(
    ("config", "until", "message"),
    [
        ("c", "2017-08-02T00:00:00Z", None),
        ("c", "2017-08-01T00:00:00Z", "c failed golden requests, but no probation is active"),
        ("b", "2017-08-02T00:00:00Z", "b failed golden requests, but c is on probation"),
    ],
)
def test_golden_requests_take_back_the_version_that_they_judged(
    world: World, config: str, until: str, message: str | None
) -> None:
    """Only during its probation, and no other version."""
    row = LockRow(
        endpoint=ENDPOINT, live=canonical_json(world.pointer("c", world.package(), probation_until=until)).decode()
    )
    facts, requested = replace(FACTS, row=row, serving=serving("InService")), request("rollback", config=config)
    with nullcontext() if message is None else pytest.raises(NothingToDoError, match=message):
        check_probation(requested, facts, NOW)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({}, "do not exist: a, b"),
        ({"a": "OK"}, "do not exist: b"),
        ({"a": "ALARM", "b": "OK"}, "are already in ALARM: a"),
    ],
)
def test_fails_when_rollback_alarms_make_no_sense(states: dict[str, str], message: str) -> None:
    """All missing alarms, and those in ALARM, are named."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, alarms=("a", "b")))
    with pytest.raises(RefusedError, match=message):
        check_quiet(spec, states)
    check_quiet(spec, {"a": "OK", "b": "INSUFFICIENT_DATA"})


def test_alarms_of_a_live_model_that_fails_do_not_refuse() -> None:
    """The reason has the proof; without a proof the rejection lists the alternatives."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, alarms=("a", "b")))
    states = {"a": "ALARM", "b": "OK"}
    reported = check_quiet(spec, states, Counts(calls=1000, failed=300))
    assert reported == (
        "; not watched because already in ALARM: a; 300 of 1,000 answers of the live model failed in the hour before"
    )
    assert check_quiet(spec, {"a": "OK", "b": "OK"}, Counts(calls=1000, failed=300)) == ""
    for answers in (None, Counts(calls=1000, failed=3)):
        with pytest.raises(RefusedError, match="mlops rollback, which does not watch them, or remove them from"):
            check_quiet(spec, states, answers)


def test_fails_when_variants_change_in_steps() -> None:
    """SageMaker shifts in steps only between equal sets of variants."""
    live = Variant(name="AllTraffic", instance_type="ml.m5.large", instance_count=2, weight=1.0)
    version = Version(config="c", variants=(live,), model="m", package="p")
    check_variants(SPEC, version)
    with pytest.raises(RefusedError, match="variants change from AllTraffic to AllTraffic, Arm"):
        check_variants(replace(SPEC, variants=(ARM,)), version)
    with pytest.raises(RefusedError, match="variant must stay 'AllTraffic'"):
        check_variants(replace(SPEC, variant="Other"), version)
