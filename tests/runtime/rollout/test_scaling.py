"""How an endpoint is to scale from now on: only what differs from how it scales already."""

from dataclasses import replace

from rollout_world import SPEC, World

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import ScalingSpec
from mlops_runtime.rollout.capacity import no_scaling
from mlops_runtime.rollout.plan import Facts
from mlops_runtime.rollout.scaling import planned_scaling

SCALED = replace(SPEC, scaling=ScalingSpec(minimum=2, maximum=4, target=600.0))


def facts_of(world: World, spec: ServingSpec) -> Facts:
    """Return the facts of an endpoint that serves under a spec."""
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    world.store(spec)
    world.point(world.pointer("demand-forecast-00000001", package, spec))
    return world.facts(world.request("spec"))


def test_what_scales_already_is_left_alone(world: World) -> None:
    """The same scaling of the same variants."""
    assert planned_scaling(SCALED, facts_of(world, SCALED)) == no_scaling()


def test_what_did_not_scale_is_registered_and_nothing_taken_back(world: World) -> None:
    """There is nothing to take back."""
    planned = planned_scaling(SCALED, facts_of(world, SPEC))
    assert (len(planned["targets"]), planned["deregister"], planned["alarm_names"]) == (1, [], [])


def test_an_instance_type_changes_while_nothing_is_registered(world: World) -> None:
    """SageMaker refuses it else; what is no longer wanted goes the same way."""
    facts = facts_of(world, SCALED)
    assert len(planned_scaling(replace(SCALED, instance_type="ml.c7g.large"), facts)["deregister"]) == 1
    assert planned_scaling(SPEC, facts)["targets"] == []
    assert len(planned_scaling(SPEC, facts)["deregister"]) == 1


def test_of_what_serves_unrecorded_nothing_is_known(world: World) -> None:
    """So all of it is taken back and registered."""
    facts = replace(facts_of(world, SCALED), live_spec=None)
    planned = planned_scaling(SCALED, facts)
    assert len(planned["targets"]) == len(planned["deregister"]) == 1


def test_a_first_endpoint_registers_what_it_gets(world: World) -> None:
    """Nothing serves yet."""
    world.store(SCALED)
    facts = world.facts(world.request("spec"))
    assert facts.serving is None
    assert len(planned_scaling(SCALED, facts)["targets"]) == 1
