"""The plan in the machine's format."""

import json
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import World

from mlops_runtime.rollout.deploy_plan import SageMakerPlan, live_pointer, look_seconds, poll_seconds
from mlops_runtime.rollout.fleet_capacity import no_scaling


def test_a_plan_of_nothing_has_every_key() -> None:
    """Missing parts are null, an empty object or an empty list; all of it is JSON."""
    plan = SageMakerPlan(action="nothing", reason="r", endpoint="e", started="s").as_dict()
    assert set(plan) == {f.name for f in fields(SageMakerPlan)}
    assert (plan["config_name"], plan["rehearsal"], plan["expired"]) == (None, {}, [])
    assert plan["leftovers"] == {"versions": [], "rehearsals": [], "alarms": []}
    assert plan["scaling"] == no_scaling()
    assert json.loads(json.dumps(plan)) == plan


@given(st.integers(600, 28800))
def test_a_rollout_is_looked_at_often_and_not_too_often(maximum: int) -> None:
    """At least every minute and at most 495 times, as an execution's history is limited; ends are polled less often."""
    seconds, looks = poll_seconds(maximum), look_seconds(maximum)
    assert 30 <= seconds <= 60
    assert (maximum + 900) / seconds <= 495
    assert seconds <= looks <= 2 * seconds


def test_a_row_without_a_pointer_has_none(world: World) -> None:
    """Nothing has served yet."""
    assert live_pointer(world.table.read()) is None
    world.point(world.pointer("v1", "p"))
    live = live_pointer(world.table.read())
    assert live is not None
    assert live.config == "v1"
