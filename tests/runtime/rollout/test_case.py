"""What follows from a request that may be carried out."""

from dataclasses import replace

from rollout_world import ENDPOINT, EXECUTION, NOW, SPEC, World

from mlops_runtime.contracts import content_hash
from mlops_runtime.registry.package import read_package
from mlops_runtime.rollout.case import Case, pointer
from mlops_runtime.rollout.tags import version_name


def case_of(world: World, reason: str) -> tuple[Case, str]:
    """Return the case of a second package, while the first serves."""
    first, second = world.package(), world.package()
    world.version("demand-forecast-00000001", first)
    world.serve("demand-forecast-00000001")
    world.store()
    world.point(world.pointer("demand-forecast-00000001", first, probation_until="2017-08-02T00:00:00Z"))
    request = world.request(reason, second)
    package = read_package(world.sagemaker.describe_model_package(ModelPackageName=second))
    facts = world.facts(request)
    return Case(request=request, facts=facts, spec=SPEC, package=package, execution=EXECUTION, now=NOW), first


def test_the_pointer_names_what_is_made_and_what_it_can_go_back_to(world: World) -> None:
    """Names follow from the execution; a new model is not on the old one's probation."""
    case, _ = case_of(world, "approval")
    made = pointer(case)
    assert case.name == made.config == made.model == version_name(ENDPOINT, EXECUTION)
    assert (made.previous, made.probation_until) == ("demand-forecast-00000001", None)
    assert (made.spec_sha256, made.spec_uri) == (content_hash(SPEC), case.facts.row.desired)
    assert (case.is_approval, case.is_rollback) == (True, False)


def test_another_spec_for_the_same_model_keeps_its_probation(world: World) -> None:
    """And its way back is still another model."""
    case, first = case_of(world, "spec")
    package = read_package(world.sagemaker.describe_model_package(ModelPackageName=first))
    made = pointer(replace(case, package=package))
    assert (made.probation_until, made.previous) == ("2017-08-02T00:00:00Z", None)
