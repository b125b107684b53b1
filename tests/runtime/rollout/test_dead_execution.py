"""Recoveries of dead executions: a candidate left serving, and a failed first endpoint."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, SPEC, World

from mlops_runtime.contracts.rollout import DeployRequest, DiedExecution
from mlops_runtime.contracts.serving import ScalingSpec
from mlops_runtime.rollout.dead_execution import discarded, recovered, resumed_scaling
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.live_fleet import Serving
from mlops_runtime.rollout.preflight import decide

DEAD = "arn:aws:states:us-east-1:123456789012:execution:Deploy:approval-2-x"
LEFT, OLD = version_name(ENDPOINT, DEAD), "demand-forecast-00000001"
STARTED = datetime.now(UTC) + timedelta(days=1)  # the store uses its own clock for the time of storage
ALARM = f"{ENDPOINT}-rollout-{LEFT.rpartition('-')[2]}-errors"
WATCHED = replace(
    SPEC, rollout=replace(SPEC.rollout, alarms=("refunds",), probation=3600, probation_alarms=("refunds",))
)


def recovery(world: World, reason: str = "approval", **changes: Any) -> DeployRequest:
    """Return the request of a recovery."""
    died = DiedExecution(
        execution=DEAD, status="ABORTED", started=STARTED.isoformat(), reason=reason, requested_by="ann"
    )
    return replace(world.request("spec"), died=replace(died, **changes))


def plan_of(world: World, request: DeployRequest, **facts: Any) -> dict[str, Any]:
    """Return what a recovery does."""
    known = replace(world.facts(request), **facts)
    return decide(request, known, execution=EXECUTION, now=NOW).as_dict()


@pytest.fixture
def left(world: World) -> tuple[World, str]:
    """Return an endpoint with version 1 recorded, on which an execution left version 2 with its alarms."""
    first, second = world.package(), world.package()
    world.version(OLD, first)
    world.version(LEFT, second)
    world.serve(LEFT)
    world.store(WATCHED)
    world.point(world.pointer(OLD, first, WATCHED))
    world.alarm(ALARM, "OK")
    world.alarm("refunds", "OK")
    return world, second


def test_a_candidate_that_took_over_is_judged_like_any_other(left: tuple[World, str]) -> None:
    """It has alarms of its fleet and unit, calls since its execution, a rollback target and, if it stays, a probation."""
    world, package = left
    plan = plan_of(world, recovery(world))
    assert (plan["action"], plan["config_name"], plan["previous_config"]) == ("adopt", LEFT, OLD)
    assert plan["watched"] == [ALARM, "refunds"]
    assert (plan["min_invocations"], plan["started"], plan["probation"]) == (20, STARTED.isoformat(), 3600)
    assert plan["probation_share"]["since"] == STARTED.isoformat()
    assert plan["probation_share"]["serves_since"] == "2017-07-01T00:00:00Z"
    assert plan["revert_endpoint"]["EndpointConfigName"] == OLD
    assert (plan["live"]["config"], plan["live"]["previous"], plan["live"]["execution"]) == (LEFT, OLD, DEAD)
    assert plan["candidate_package"] == plan["live"]["model_package_arn"] == package
    assert plan["leftovers"]["alarms"] == [ALARM]
    assert (plan["create_model"], plan["update_endpoint"], plan["expired"]) == ({}, {}, [])


def test_by_which_spec_it_was_made_is_known_where_that_was_stored_before(left: tuple[World, str]) -> None:
    """Otherwise the desired spec still has to be applied."""
    world, _ = left
    request = recovery(world)
    assert plan_of(world, request)["live"]["spec_uri"] == world.table.read().desired
    late = recovery(world, started=(STARTED - timedelta(days=2)).isoformat())
    plan = plan_of(world, late)
    assert (plan["live"]["spec_sha256"], plan["live"]["spec_uri"]) == ("", "")


def test_where_its_alarms_are_gone_it_goes_back(left: tuple[World, str]) -> None:
    """Missing evidence is not success."""
    world, _ = left
    world.cloudwatch.delete_alarms(AlarmNames=[ALARM])
    plan = plan_of(world, recovery(world))
    assert (plan["action"], plan["config_name"], plan["previous_config"]) == ("revert", LEFT, OLD)
    assert plan["reason"] == f"back to {OLD}: the alarms of the new fleet were deleted, so its health is unknown"
    assert plan["revert_endpoint"]["EndpointConfigName"] == OLD
    assert plan["live"]["config"] == OLD


def test_a_candidate_that_is_no_longer_approved_goes_back(left: tuple[World, str]) -> None:
    """Whatever its metrics are."""
    world, _ = left
    known = world.facts(recovery(world)).package
    plan = plan_of(world, recovery(world), package={**(known or {}), "ModelApprovalStatus": "Rejected"})
    assert plan["action"] == "revert"
    assert "approve it first" in plan["reason"]


def test_without_a_way_back_what_is_approved_stays_and_nothing_else_does(left: tuple[World, str]) -> None:
    """A first model, or one whose predecessor was deleted, stays without evidence if approved: no model would be worse."""
    world, _ = left
    plan = plan_of(world, recovery(world), versions={})
    assert (plan["action"], plan["watched"], plan["min_invocations"]) == ("adopt", [], 0)
    assert plan["reason"].endswith("; no evidence is left to evaluate it")
    known = world.facts(recovery(world)).package
    rejected = {**(known or {}), "ModelApprovalStatus": "Rejected"}
    assert plan_of(world, recovery(world), versions={}, package=rejected)["action"] == "refuse"


@pytest.mark.parametrize(("reason", "watched", "calls"), [("spec", 2, 0), ("rollback", 0, 0), ("unknown", 2, 20)])
def test_what_it_was_asked_for_says_how_it_is_judged(
    left: tuple[World, str], reason: str, watched: int, calls: int
) -> None:
    """Another spec needs no calls, a rollback stays despite alarms, and an unknown request has the strictest checks."""
    world, _ = left
    plan = plan_of(world, recovery(world, reason))
    assert (plan["action"], len(plan["watched"]), plan["min_invocations"]) == ("adopt", watched, calls)


def test_a_version_that_is_pushed_out_goes_and_what_serves_stays(left: tuple[World, str]) -> None:
    """Another spec for the same model replaces its version."""
    world, package = left
    world.version("demand-forecast-00000003", package)
    world.point(world.pointer("demand-forecast-00000003", package, WATCHED, previous=OLD))
    plan = plan_of(world, recovery(world, "spec"))
    assert (plan["expired"], plan["live"]["previous"]) == (["demand-forecast-00000003"], OLD)


def test_what_did_not_take_over_is_nothing_to_do(left: tuple[World, str]) -> None:
    """SageMaker rolled back itself: the recovery records it and restores the scaling that the dead execution removed."""
    world, _ = left
    scaled = replace(SPEC, scaling=ScalingSpec(minimum=2, maximum=4, target=600.0))
    first = world.package()
    world.version("demand-forecast-00000009", first)
    world.serve("demand-forecast-00000009")
    world.store(scaled)
    world.point(world.pointer("demand-forecast-00000009", first, scaled))
    request = recovery(world)
    plan = plan_of(world, request)
    assert plan["action"] == "nothing"
    assert len(plan["scaling"]["targets"]) == 1
    assert plan["scaling"]["deregister"] == []
    assert resumed_scaling(world.request("spec"), world.facts(request))["targets"] == []
    assert (
        recovered(
            decide(request, world.facts(request), execution=EXECUTION, now=NOW), request, world.facts(request), NOW
        )
        is None
    )


def test_a_first_endpoint_that_failed_goes(world: World) -> None:
    """Nothing of the dead execution remains; an approval that comes first also removes it and creates it again."""
    world.store()
    package = world.package()
    failed = Serving(status="Failed", config=LEFT, version=None, failure="no capacity")
    facts = {"serving": failed, "never_served": True}
    plan = plan_of(world, recovery(world), **facts)
    assert (plan["action"], plan["reason"]) == ("discard", "the first endpoint failed and is deleted: no capacity")
    requested = plan_of(world, world.request("approval", package), **facts)
    assert (requested["action"], requested["remove"]) == ("create", ENDPOINT)
    assert plan_of(world, world.request("spec"), **facts)["action"] == "refuse"
    assert (
        discarded(
            decide(recovery(world), world.facts(recovery(world)), execution=EXECUTION, now=NOW),
            world.facts(recovery(world)),
        ).action
        == "discard"
    )


def test_an_endpoint_that_failed_after_it_had_served_is_left_to_people(world: World) -> None:
    """Its deletion is left to a person."""
    world.store()
    package = world.package()
    failed = Serving(status="Failed", config=LEFT, version=None)
    plan = plan_of(world, world.request("approval", package), serving=failed)
    assert (plan["action"], plan["remove"]) == ("refuse", None)
    assert "it can only be deleted" in plan["reason"]
