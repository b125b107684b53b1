"""Consequences of a permitted request, and the versions kept for rollbacks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, SPEC, World

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import LivePointer, LockRow
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.registry.model_package import read_package
from mlops_runtime.rollout.deploy_plan import Facts
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.live_fleet import Serving, Version
from mlops_runtime.rollout.rollout_case import Case, Succession, pointer, succession, way_back

POINTER = LivePointer(
    endpoint=ENDPOINT,
    config="",
    model="m",
    model_package_arn="p",
    model_sha256="s",
    artifact_uri="a",
    baseline_uri="b",
    baseline_sha256="8" * 64,
    evaluation_uri="e",
    training_set_id="t",
    spec_sha256="s",
    spec_uri="u",
    execution="x",
    since="2017-08-01T09:00:00Z",
    artifact_sha256="a" * 64,
    container_sha256="c" * 64,
)


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
    """Names follow from the execution; a new model does not inherit the old one's probation."""
    case, _ = case_of(world, "approval")
    made = pointer(case)
    assert case.name == made.config == made.model == version_name(ENDPOINT, EXECUTION)
    assert (made.previous, made.probation_until) == ("demand-forecast-00000001", None)
    assert (made.spec_sha256, made.spec_uri) == (content_hash(SPEC), case.facts.row.desired)
    assert (case.is_approval, case.is_rollback) == (True, False)


def test_another_spec_for_the_same_model_keeps_its_probation(world: World) -> None:
    """Its rollback target is still another model."""
    case, first = case_of(world, "spec")
    package = read_package(world.sagemaker.describe_model_package(ModelPackageName=first))
    made = pointer(replace(case, package=package))
    assert (made.probation_until, made.previous) == ("2017-08-02T00:00:00Z", None)


def name(number: int) -> str:
    """Return the name of a config."""
    return f"{ENDPOINT}-{number:08x}"


def facts(packages: list[str | None], serving: str | None = None) -> Facts:
    """Return a live version and those kept before it, newest first, by package; None for a deleted one."""
    configs = [name(number) for number in range(len(packages), 0, -1)]
    versions = {
        config: Version(config=config, variants=(), model=config, package=package)
        for config, package in zip(configs, packages, strict=True)
        if package is not None
    }
    live = replace(
        POINTER,
        config=configs[0],
        previous=configs[1] if len(configs) > 1 else None,
        kept=tuple(configs[2:]) or None,
    )
    config = configs[0] if serving is None else serving
    version = versions.get(config, Version(config=config, variants=(), model=config, package="elsewhere"))
    return Facts(
        row=LockRow(endpoint=ENDPOINT, live=canonical_json(live).decode()),
        spec=SPEC,
        serving=Serving(status="InService", config=config, version=version),
        package=None,
        alarm_states={},
        group=ENDPOINT,
        versions=versions,
    )


def test_nothing_follows_nothing() -> None:
    """The first version has no rollback target."""
    empty = replace(facts(["p1"]), serving=None)
    assert succession(empty, "p2", is_rollback=False, keep=3) == Succession()


def test_a_new_model_pushes_out_the_oldest() -> None:
    """The live version becomes the previous one, and the rest is removed."""
    follows = succession(facts(["p3", "p2", "p1"]), "p4", is_rollback=False, keep=2)
    assert (follows.previous, follows.kept, follows.expired) == (name(3), (name(2),), (name(1),))


def test_a_version_of_the_same_model_is_replaced() -> None:
    """A changed spec, or a model approved again, is not its own rollback target."""
    follows = succession(facts(["p2", "p1"]), "p2", is_rollback=False, keep=3)
    assert (follows.previous, follows.kept, follows.expired) == (name(1), (), (name(2),))


def test_a_rollback_keeps_what_is_older_than_its_target() -> None:
    """The version that it leaves and those skipped are removed; the target is created again."""
    follows = succession(facts(["p4", "p3", "p2", "p1"]), "p2", is_rollback=True, keep=3)
    assert (follows.previous, follows.kept, follows.expired) == (name(1), (), (name(4), name(3), name(2)))


def test_a_rollback_past_everything_keeps_nothing() -> None:
    """A target that was not kept is older than all kept versions."""
    follows = succession(facts(["p4", "p3"]), "p1", is_rollback=True, keep=3)
    assert (follows.previous, follows.expired) == (None, (name(2), name(1)))


def test_what_somebody_made_by_hand_is_left_alone() -> None:
    """It may be a rollback target if it has a package, and is never deleted."""
    follows = succession(facts(["p2", "p1"], serving="by-hand"), "p3", is_rollback=False, keep=1)
    assert (follows.previous, follows.expired) == ("by-hand", (name(2), name(1)))


@pytest.mark.parametrize(
    ("packages", "wanted"), [(["p2", "p1"], "p1"), (["p3", None, "p1"], "p1"), (["p1"], None), (["p2", None], None)]
)
def test_the_way_back_is_the_newest_that_still_exists(packages: list[str | None], wanted: str | None) -> None:
    """A deleted version is skipped."""
    assert way_back(facts(packages)) == wanted


@given(
    st.lists(st.sampled_from(["p1", "p2", "p3", "p4", None]), min_size=1, max_size=6),
    st.sampled_from(["p1", "p2", "p5"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_every_version_is_kept_once_or_goes(packages: list[str | None], package: str, back: bool, keep: int) -> None:
    """No version is lost or kept twice, none of the new model is kept, and at most the policy's number."""
    known = facts(packages)
    follows = succession(known, package, is_rollback=back, keep=keep)
    stays = [*([] if follows.previous is None else [follows.previous]), *follows.kept]
    line = [name(number) for number in range(len(packages), 0, -1)]
    assert sorted([*stays, *follows.expired]) == sorted(line)
    assert len(stays) <= keep
    assert stays == [config for config in line if config in stays]
    if not back:
        assert package not in {known.versions[config].package for config in stays if config in known.versions}


def test_the_pointer_names_the_answers_of_the_rehearsal(world: World) -> None:
    """They belong to the version being made; another spec of the same container keeps them, another container has none."""
    golden = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)
    case, first = case_of(world, "approval")
    rehearsed = replace(case, spec=replace(SPEC, rollout=replace(SPEC.rollout, golden=golden)))
    assert pointer(rehearsed).rehearsed == f"rehearsals/{ENDPOINT}/{case.name}.json"
    assert pointer(case).rehearsed is None
    world.point(world.pointer("demand-forecast-00000001", first, rehearsed="rehearsals/e/c.json"))
    facts = world.facts(case.request)
    held = read_package(world.sagemaker.describe_model_package(ModelPackageName=first))
    assert pointer(replace(case, facts=facts, package=held)).rehearsed == "rehearsals/e/c.json"
