"""Instances that a rollout needs at once, compared with the account's quota."""

from dataclasses import replace

import pytest
from tests.runtime.rollout.world import NOW, SPEC, World

from mlops_runtime.contracts.serving import VariantSpec
from mlops_runtime.rollout.deploy_plan import RefusedError
from mlops_runtime.rollout.instance_quota import Quotas, needed, quota_problems
from mlops_runtime.rollout.live_fleet import Variant
from mlops_runtime.rollout.permission import check_quota

LIVE = (Variant(name="AllTraffic", instance_type="ml.m5.large", instance_count=3, weight=1.0),)
ROLLING = replace(SPEC, instance_count=4, rollout=replace(SPEC.rollout, kind="ROLLING", percent=25))


def test_both_fleets_stand_beside_each_other() -> None:
    """Two new instances next to three old ones, also of further variants; other types count separately."""
    assert needed(SPEC, ()) == {"ml.m5.large": 2}
    assert needed(SPEC, LIVE) == {"ml.m5.large": 5}
    arm = VariantSpec(name="Arm", instance_type="ml.c7g.large", instance_count=1, weight=0.5)
    assert needed(replace(SPEC, variants=(arm,)), LIVE) == {"ml.c7g.large": 1, "ml.m5.large": 5}


def test_a_rolling_update_needs_one_batch_more() -> None:
    """The old capacity shrinks as the new one grows; a first endpoint needs its full size."""
    assert needed(ROLLING, LIVE) == {"ml.m5.large": 4}
    assert needed(ROLLING, ()) == {"ml.m5.large": 4}


def test_what_does_not_fit_is_named_with_the_fix() -> None:
    """Reports the needed and the allowed number; an unknown quota does not reject."""
    quotas = Quotas(instances={"ml.m5.large": 4.0})
    (problem,) = quota_problems({"ml.m5.large": 5, "ml.c7g.large": 9}, quotas)
    assert problem == (
        "the rollout needs 5 ml.m5.large at once for both fleets, but the account's quota is 4; request 5 of "
        "'ml.m5.large for endpoint usage' in Service Quotas, or use fewer or other instances"
    )
    assert quota_problems({"ml.m5.large": 4}, quotas) == []


def test_a_plan_is_refused_by_it_and_says_where_it_could_not_be_read() -> None:
    """An unreadable quota is no reason to reject."""
    assert check_quota(SPEC, LIVE, None) == ""
    assert check_quota(SPEC, LIVE, Quotas()) == ""
    with pytest.raises(RefusedError, match=r"needs 5 ml\.m5\.large at once"):
        check_quota(SPEC, LIVE, Quotas(instances={"ml.m5.large": 4.0}))
    reported = check_quota(SPEC, LIVE, Quotas(unread="AccessDeniedException"))
    assert reported == "; the account's instance quotas could not be read (AccessDeniedException)"


def test_a_plan_is_held_to_the_quotas_that_came_with_the_request(world: World) -> None:
    """The Deploy machine has read them."""
    world.store()
    quotas = Quotas(instances={"ml.m5.large": 4.0})

    assert world.sources.facts(world.request("approval"), execution="e", now=NOW, quotas=quotas).quotas == quotas
    assert world.sources.facts(world.request("approval"), execution="e", now=NOW).quotas is None
