"""Traffic shifts between two slots, which end in a consistent state after any crash."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.eks.samples import EKS, SPEC, VERSION, with_eks
from tests.runtime.eks.slots import (
    BLUE,
    CHALLENGER,
    CHAMPION,
    EXECUTION,
    GREEN,
    NOW,
    described,
    facts,
    pointer,
    request,
    slots,
    state,
)
from tests.runtime.rollout.test_rollout_progress import Machine

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome, RolloutSpec
from mlops_runtime.contracts.serving import SLOTS, GoldenSpec
from mlops_runtime.eks.live_slots import serving, taken_back
from mlops_runtime.eks.slot_alarms import slot_fleet
from mlops_runtime.eks.slot_plan import SlotPlan, shares, slot_version, weights
from mlops_runtime.registry.model_package import read_package, registered_metadata
from mlops_runtime.rollout.deploy_plan import RefusedError
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.outcome_record import Claim, next_live, next_record
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.serving_limits import steps

NEW = version_name(SPEC.endpoint, EXECUTION)
LIVE = slots(100, state("blue", BLUE))
RECORDED = pointer(BLUE)
POLICIES = st.builds(
    lambda kind, percent: RolloutSpec(
        kind=kind, bake=300, maximum=28800, percent=None if kind == "ALL_AT_ONCE" else percent
    ),
    st.sampled_from(["ALL_AT_ONCE", "CANARY", "LINEAR"]),
    st.integers(1, 50),
)


def plan(both: Any = LIVE, live: LivePointer | None = RECORDED, **changes: Any) -> SlotPlan:
    """Return the plan for the approval of package 2 while blue serves package 1."""
    requested = changes.pop("asked", request())
    made = decide(requested, facts(both, live, **changes), execution=EXECUTION, now=NOW)
    assert isinstance(made, SlotPlan)
    return made


# weights


@given(POLICIES, st.sampled_from(SLOTS))
def test_weights_always_sum_to_all_and_end_at_an_end(policy: RolloutSpec, slot: str) -> None:
    """The candidate's share only grows, up to all; each step has a bake."""
    moved = shares(policy)
    written = [weights(slot, share) for share in moved]
    assert all(sum(each.values()) == 100 and min(each.values()) >= 0 for each in written)
    assert list(moved) == sorted(set(moved))
    assert written[-1][slot] == 100
    assert len(moved) == steps(policy.kind, policy.percent, 100)


@pytest.mark.parametrize(
    ("kind", "percent", "expected"),
    [
        ("ALL_AT_ONCE", None, (100,)),
        ("CANARY", 1, (1, 100)),
        ("CANARY", 50, (50, 100)),
        ("LINEAR", 30, (30, 60, 90, 100)),
        ("LINEAR", 50, (50, 100)),
    ],
)
def test_each_kind_moves_what_it_says(kind: Any, percent: int | None, expected: tuple[int, ...]) -> None:
    """A share of the requests, not of instances: one percent is one percent."""
    assert shares(RolloutSpec(kind=kind, bake=300, maximum=3600, percent=percent)) == expected


def test_batches_are_refused_by_name() -> None:
    """Also in the plan, for a spec stored when it was allowed."""
    with pytest.raises(RefusedError, match=r"got ROLLING.*use RolloutPolicy\.linear"):
        shares(RolloutSpec(kind="ROLLING", bake=300, maximum=3600, percent=10))
    rolling = replace(SPEC, rollout=replace(SPEC.rollout, kind="ROLLING"))
    made = plan(spec=rolling)
    assert made.action == "refuse"
    assert "ROLLING" in made.reason


# crashes


@given(POLICIES, st.integers(0, 12), st.booleans(), st.booleans())
def test_a_crash_at_any_point_ends_at_an_end_with_a_record_that_says_which(
    policy: RolloutSpec, died_after: int, is_recorded: bool, live_in_green: bool
) -> None:
    """After a crash at any write, the next execution completes or resets the weights and records the serving version."""
    live_slot, slot = ("green", "blue") if live_in_green else ("blue", "green")
    old, new = (GREEN, BLUE) if live_in_green else (BLUE, GREEN)
    written = [weights(live_slot, 100), *(weights(slot, share) for share in shares(policy))]
    at = written[min(died_after, len(written) - 1)]
    is_promoted = is_recorded and at == written[-1]
    recorded = pointer(new, CHALLENGER) if is_promoted else pointer(old)
    states = state(live_slot, old), state(slot, new, package=CHALLENGER)
    back = taken_back(slots(at["blue"], *states), recorded.config)
    after = slots((at if back is None else back)["blue"], *states)
    found = serving(after)
    assert after.is_at_rest
    assert found is not None
    # before the record nothing was promoted, after it nothing is rolled back
    assert found.config == (new if is_promoted else old)
    record = _record_of(found, recorded)
    assert (record.serving_config, record.serving_package) == (found.config, CHALLENGER if is_promoted else CHAMPION)
    assert next_live(_row(recorded), _claim(), found, None) == recorded


def _row(live: LivePointer) -> LockRow:
    return LockRow(endpoint=SPEC.endpoint, live=canonical_json(live).decode())


def _claim() -> Claim:
    return Claim(outcome=Outcome.UNCHANGED, reason="recovered", execution=EXECUTION, at=NOW)


def _record_of(found: Any, live: LivePointer) -> AuditRecord:
    return next_record(_row(live), _claim(), found, None)


def test_what_is_begun_is_waited_for_and_taken_back() -> None:
    """The plan has the target weights; nothing else is planned before they are restored."""
    made = plan(slots(90, state("blue", BLUE), state("green", GREEN, package=CHALLENGER)))
    assert made.action == "wait"
    assert made.reason == f"the rule forwards blue 90 %, green 10 %, but all traffic belongs to blue with {BLUE}"
    assert made.eks.start == {"blue": 100, "green": 0}
    assert made.config_name is None
    assert made.alarms == ()


def test_what_an_execution_has_left_running_is_named() -> None:
    """Pods without traffic cost money; the next execution removes them, whatever its request is."""
    left = slots(100, state("blue", BLUE), state("green", GREEN))
    made = plan(left, asked=request("spec", None), package=CHAMPION)
    assert made.action == "nothing"
    assert made.eks.is_left is True
    assert plan(slots(100, state("blue", BLUE), state("green", GREEN, desired=0, ready=0))).eks.is_left is False


def test_a_slot_that_was_left_running_counts_from_when_it_gets_no_call() -> None:
    """Minutes with calls of a dead execution's candidate do not count."""
    left = plan(slots(100, state("blue", BLUE), state("green", GREEN)))
    at = datetime.fromisoformat(str(left.verdict.not_before))
    assert timedelta(minutes=1) < at - datetime.fromisoformat(left.started) <= timedelta(minutes=2)
    assert at.second == 0
    empty = plan(slots(100, state("blue", BLUE), state("green", GREEN, desired=0, ready=0)))
    assert "not_before" not in empty.as_dict()["verdict"]


# plans


def fleet_dimensions(slot: str) -> dict[str, str]:
    """The load balancer's dimensions of a slot."""
    return dict(slot_fleet(EKS, slot).calls.dimensions)


def test_a_candidate_gets_the_slot_without_traffic() -> None:
    """With the policy's steps, the slot's alarms, and its Deployment's version."""
    spec = replace(with_eks(alarms={"blue": ("b",), "green": ("g",)}), rollout=replace(SPEC.rollout, alarms=("unit",)))
    quiet = {"b": "OK", "g": "OK", "unit": "OK"}
    made = plan(spec=spec, alarm_states=quiet)
    assert (made.action, made.config_name, made.previous_config) == ("update", NEW, BLUE)
    assert (made.eks.slot, made.eks.live_slot) == ("green", "blue")
    assert made.eks.start == {"blue": 100, "green": 0}
    assert made.eks.steps == ({"blue": 90, "green": 10}, {"blue": 0, "green": 100})
    assert made.eks.bake == 300
    suffix = NEW.rpartition("-")[2]
    names = tuple(f"{SPEC.endpoint}-rollout-{suffix}-{kind}" for kind in ("verdict", "dead", "abort"))
    assert made.watched == (*names, "unit", "g")
    assert made.alarm_names == names
    requested = made.verdict
    assert (requested.fleet, requested.new.calls.dimensions) == (NEW, fleet_dimensions("green"))
    assert requested.old.calls.dimensions == fleet_dimensions("blue")
    version = made.eks.version
    assert (version.config, version.package, version.image) == (NEW, CHALLENGER, VERSION.image)
    assert version.environment == {"OMP_NUM_THREADS": "1", "MLOPS_MODEL_SHA256": "c" * 64}
    assert made.eks.service == facts(LIVE, spec=spec).row.desired


def test_who_follows_a_rollout_finds_where_both_slots_are_timed() -> None:
    """The execution's history has the plan as JSON."""
    made = plan()
    found = Machine().planned(made.as_dict()).progress()
    assert found.slot_times == {"new": slot_fleet(EKS, "green").latency, "old": slot_fleet(EKS, "blue").latency}
    assert found.started == made.started


@pytest.mark.parametrize(("live", "pods"), [(0, 2), (2, 2), (5, 5), (9, 6)])
def test_a_candidate_starts_with_as_many_pods_as_serve(live: int, pods: int) -> None:
    """Its autoscaler would be too slow for a step; limited by its maximum."""
    made = plan(slots(100, state("blue", BLUE, desired=live)))
    assert made.eks.pods == pods


def test_the_first_model_goes_where_the_rule_does_not_point() -> None:
    """All at once, without alarms and evidence: there is no rollback target."""
    made = plan(slots(100), None)
    assert (made.action, made.reason) == ("create", f"first model: {CHALLENGER}")
    assert (made.eks.slot, made.eks.live_slot) == ("green", None)
    assert made.eks.steps == ({"blue": 0, "green": 100},)
    assert (made.alarms, made.watched, made.min_invocations, made.eks.bake) == ((), (), 0, 0)
    assert made.eks.pods == EKS.minimum


def test_before_a_model_there_is_nothing_to_do_for_a_spec() -> None:
    """A stack's first deployment succeeds."""
    made = plan(slots(100), None, asked=request("spec", None))
    assert made.action == "nothing"
    assert made.reason.startswith("NOT_YET_DEPLOYED")


def test_a_rollback_goes_to_the_package_before_at_once() -> None:
    """Whatever the other slot contains: the version is created again from its package."""
    both = slots(
        0, state("blue", "demand-forecast-fa11ed00", package="arn/9", desired=0, ready=0), state("green", GREEN)
    )
    live = pointer(GREEN, CHALLENGER, previous=BLUE, previous_package=CHAMPION)
    made = plan(both, live, asked=request("rollback", None), package=CHAMPION)
    assert (made.action, made.reason) == ("update", f"back to {CHAMPION}")
    assert made.eks.steps == ({"blue": 100, "green": 0},)
    assert made.eks.version.package == CHAMPION
    assert (made.alarms, made.watched, made.eks.bake) == ((), (), 0)


def test_an_alarm_that_is_gone_keeps_nobody_from_going_back() -> None:
    """A rollback has no alarms; the live version may be their cause."""
    both = slots(0, state("blue", BLUE, desired=0, ready=0), state("green", GREEN, package=CHALLENGER))
    spec = with_eks(alarms={"blue": ("gone",)})
    live = pointer(GREEN, CHALLENGER, previous=BLUE, previous_package=CHAMPION)
    made = plan(both, live, asked=request("rollback", None), package=CHAMPION, spec=spec)
    assert (made.action, made.watched) == ("update", ())


def test_a_freeze_and_a_pause_hold_for_new_models_alone() -> None:
    """As on SageMaker: rollbacks are never blocked."""
    frozen = plan(frozen="frozen: peak season")
    assert (frozen.action, frozen.reason.partition(":")[0]) == ("refuse", "frozen")
    automatic = described(CHALLENGER, ApprovalDescription="approved by policy: better [binding 0]")
    resting = replace(facts(LIVE, RECORDED, rests="paused by ann"), package=automatic)
    assert decide(request(), resting, execution=EXECUTION, now=NOW).reason.startswith("paused by ann")
    back = request("rollback", CHALLENGER)
    assert plan(asked=back, frozen="frozen: peak season", rests="paused by ann").action == "update"


def test_a_rollback_that_an_alarm_asks_for_is_held_to_the_probation() -> None:
    """It is active, the alarm is in ALARM, and the version on probation serves."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, probation=3600, probation_alarms=("refunds",)))
    both = slots(0, state("blue", BLUE, desired=0, ready=0), state("green", GREEN, package=CHALLENGER))
    until = {"previous": BLUE, "previous_package": CHAMPION, "probation_until": "2017-08-01T10:00:00Z"}
    requested = request("rollback", None, alarm="refunds")
    reported = {"asked": requested, "spec": spec, "package": CHAMPION}
    fires = plan(both, pointer(GREEN, CHALLENGER, **until), alarm_states={"refunds": "ALARM"}, **reported)
    assert (fires.action, fires.eks.steps) == ("update", ({"blue": 100, "green": 0},))
    quiet = plan(both, pointer(GREEN, CHALLENGER, **until), alarm_states={"refunds": "OK"}, **reported)
    assert quiet.action == "nothing"
    over = pointer(GREEN, CHALLENGER, **{**until, "probation_until": "2017-08-01T08:00:00Z"})
    assert plan(both, over, alarm_states={"refunds": "ALARM"}, **reported).action == "nothing"


def test_a_new_model_goes_on_probation() -> None:
    """Its alarm tolerates the predecessor's failures, the pointer has its slot, and another spec starts none."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, probation=3600, probation_alarms=("refunds",)))
    made = plan(spec=spec)
    assert (made.probation, made.live.slot) == (3600, made.eks.slot)
    assert made.probation_alarm["AlarmName"] == f"{SPEC.endpoint}-probation-errors"
    groups = made.probation_share.old.calls.dimensions["TargetGroup"]
    assert made.eks.live_slot in groups
    assert made.probation_share.serves_since == pointer(BLUE, CHAMPION).since
    changed = plan(asked=request("spec", None), package=CHAMPION, spec=replace(spec, eks=with_eks(maximum=7).eks))
    document = changed.as_dict()
    assert (changed.probation, document["probation_alarm"], document["probation_share"]) == (0, {}, {})
    assert changed.live.slot == changed.eks.slot


def test_a_model_that_answered_golden_requests_remembers_where_its_answers_are() -> None:
    """They are checked until its probation ends."""
    golden = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)
    made = plan(spec=replace(SPEC, rollout=replace(SPEC.rollout, golden=golden)))
    assert made.live.rehearsed == made.rehearsal.answers


def test_what_comes_to_serve_remembers_the_package_before() -> None:
    """Its slot will be reused."""
    assert plan().live.previous == BLUE
    assert plan().live.previous_package == CHAMPION
    again = plan(asked=request("spec", None), package=CHAMPION, spec=with_eks(maximum=7))
    assert again.action == "update"
    assert again.live.previous_package is None


def test_a_spec_that_changed_makes_a_version_of_the_same_package() -> None:
    """With steps and alarms, but without required evidence."""
    made = plan(asked=request("spec", None), package=CHAMPION, spec=with_eks(maximum=7))
    assert (made.action, made.reason) == ("update", "the serving spec changed")
    assert made.min_invocations == 0
    assert made.eks.version.spec_sha256 == made.live.spec_sha256 != pointer(BLUE).spec_sha256


def test_alarms_of_a_slot_that_do_not_exist_stop_a_rollout() -> None:
    """Nothing would roll it back."""
    made = plan(spec=with_eks(alarms={"green": ("gone",)}))
    assert made.action == "refuse"
    assert made.reason.startswith("rollback alarms do not exist: gone")


def test_a_spec_for_another_target_is_refused() -> None:
    """A half-deployed stack may have a function and a stored spec of different targets."""
    made = plan(
        spec=replace(
            SPEC,
            eks=None,
            instance_type="ml.m5.large",
            instance_count=2,
            subnets=("s",),
            security_groups=("g",),
            rollout=replace(SPEC.rollout, percent=50),
        )
    )
    assert (made.action, made.reason) == (
        "refuse",
        "the stored spec and the stack's functions are for different targets; deploy the stack again",
    )


def test_a_package_that_no_slot_can_run_is_refused() -> None:
    """Its environment would override the platform's."""
    package = described(CHALLENGER)
    container = package["InferenceSpecification"]["Containers"][0]
    container["Environment"]["MLOPS_ENDPOINT"] = "another"
    package["CustomerMetadataProperties"] = registered_metadata(container, package["CustomerMetadataProperties"])
    made = decide(request(), replace(facts(LIVE, pointer(BLUE)), package=package), execution=EXECUTION, now=NOW)
    assert made.action == "refuse"
    assert "MLOPS_ENDPOINT is set by the platform" in made.reason


def test_an_image_of_the_spec_stands_before_that_of_the_package() -> None:
    """The same artifact in another server."""
    package = read_package(described(CHALLENGER))
    image = VERSION.image.replace("mlops-runtime", "triton")
    made = slot_version(with_eks(image=image), package=package, config=NEW, spec_sha256="d" * 64)
    assert made.image == image
    assert slot_version(SPEC, package=package, config=NEW, spec_sha256="d" * 64).image == VERSION.image


@pytest.mark.parametrize("both", [LIVE, slots(100), slots(40, state("blue", BLUE), state("green", GREEN))])
def test_every_key_is_always_there(both: Any) -> None:
    """The machine's expressions never meet an undefined key."""
    live = pointer(BLUE) if both.name("blue") else None
    requested = request(), request("spec", None), request("rollback", None)
    keys = {frozenset(plan(both, live, asked=each, package=CHAMPION).as_dict()["eks"]) for each in requested}
    assert len(keys) == 1
    assert keys == {frozenset(plan().as_dict()["eks"])}


def test_pods_are_told_what_loading_their_model_may_do() -> None:
    """The server loads nothing beyond its package's trust; ONNX needs none."""
    package = read_package(described(CHALLENGER))
    other = replace(package, spec=replace(package.spec, flavor="pickle", trust="pickle"))
    versions = [slot_version(with_eks(), package=each, config=NEW, spec_sha256="5" * 64) for each in (package, other)]
    assert [version.environment.get("MLOPS_TRUST") for version in versions] == [None, "pickle"]
