"""Plans: the actions of a Deploy execution, from the facts at its sources."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.rollout.test_capacity_limits import SERVERLESS
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, PACKAGE, SPEC, World

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts import canonical_json, content_hash, from_dict
from mlops_runtime.contracts.rollout import LivePointer, Outcome, Promoted, ServingSpec
from mlops_runtime.contracts.serving import (
    GoldenSpec,
    MetricRule,
    ScalingSpec,
    ScheduledCapacitySpec,
    ShadowSpec,
    VariantSpec,
)
from mlops_runtime.registry.model_package import package_request
from mlops_runtime.rollout.fleet_capacity import no_scaling
from mlops_runtime.rollout.live_fleet import Serving
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.planned_bake import Traffic
from mlops_runtime.rollout.preflight import decide, verified_spec
from mlops_runtime.rollout.serving_limits import SpecError

NAME = "demand-forecast-4588cf62"


def _plan(
    world: World, reason: str, wanted: str | None = None, *, alarm: str | None = None, **facts: Any
) -> dict[str, Any]:
    request = world.request(reason, wanted, alarm)
    known = replace(world.facts(request), **facts)
    return decide(request, known, execution=EXECUTION, now=NOW).as_dict()


@pytest.fixture
def serving(world: World) -> tuple[World, str]:
    """Return an endpoint that serves package 1 as ``demand-forecast-00000001`` under the stored spec."""
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    world.store()
    world.promote(package)
    world.point(world.pointer("demand-forecast-00000001", package))
    return world, package


def test_spec_without_a_model_is_nothing_to_do(world: World) -> None:
    """The first deployment in an empty account succeeds as NOT_YET_DEPLOYED."""
    world.store()
    plan = _plan(world, "spec")
    assert plan["action"] == "nothing"
    assert plan["reason"].startswith("NOT_YET_DEPLOYED")


def test_first_approval_creates_the_endpoint(world: World) -> None:
    """Creates model, config and endpoint; there is no fleet for alarms and no rollback target."""
    world.store()
    package = world.package()
    plan = _plan(world, "approval", package)
    assert plan["action"] == "create"
    assert plan["create_endpoint"]["EndpointConfigName"] == plan["config_name"] == NAME
    assert plan["create_model"]["Containers"] == [{"ModelPackageName": package}]
    assert (plan["alarms"], plan["min_invocations"], plan["revert_endpoint"]) == ([], 0, {})
    assert plan["previous_config"] is None
    live = from_dict(LivePointer, plan["live"])
    assert (live.model_sha256, live.baseline_uri, live.previous) == (PACKAGE.model_sha256, PACKAGE.baseline_uri, None)
    assert live.baseline_sha256 == PACKAGE.baseline_sha256


def test_approval_updates_with_guardrails(serving: tuple[World, str]) -> None:
    """The new fleet has alarms, evidence is required, and the rollback is prepared."""
    world, first = serving
    second = world.package()
    plan = _plan(world, "approval", second)
    assert (plan["action"], plan["reason"]) == ("update", f"approved: {second}: better")
    assert plan["update_endpoint"]["EndpointConfigName"] == NAME
    assert plan["revert_endpoint"]["EndpointConfigName"] == "demand-forecast-00000001"
    stem = "demand-forecast-rollout-4588cf62"
    assert plan["alarm_names"] == plan["watched"] == [f"{stem}-verdict", f"{stem}-dead", f"{stem}-abort"]
    requested = plan["verdict"]
    assert (requested["fleet"], requested["since"], requested["tolerated"]) == (NAME, plan["started"], 0.0005)
    fleets = [requested[which]["calls"]["dimensions"]["EndpointConfigName"] for which in ("new", "old")]
    assert fleets == [NAME, "demand-forecast-00000001"]
    assert requested["new"]["calls"]["metric"] == "InvocationModelErrors"
    assert (plan["min_invocations"], plan["bake"]) == (20, 600)
    assert plan["previous_config"] == "demand-forecast-00000001"
    assert plan["live"]["model_package_arn"] == second != first
    assert plan["live"]["previous"] == "demand-forecast-00000001"


@pytest.mark.parametrize(("calls", "seconds"), [(10.0, 3600), (20_000.0, 600)])
def test_a_bake_is_planned_from_the_traffic(world: World, calls: float, seconds: int) -> None:
    """The wait between steps shows the fault; after the last step less time is enough. The record has the reason."""
    rollout = replace(SPEC.rollout, max_bake=3600, maximum=10800)
    package = world.package()
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    world.store(replace(SPEC, rollout=rollout))
    world.promote(package)
    world.point(world.pointer("demand-forecast-00000001", package))
    traffic = Traffic(calls=calls, source="in the hour before")
    second = world.package()
    plan = _plan(world, "approval", second, traffic=traffic)
    policy = plan["update_endpoint"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"] == plan["bake"] == seconds
    assert policy["TerminationWaitInSeconds"] == 600
    assert plan["verdict"]["planned"].startswith(f"bakes {seconds // 60} minutes a step: ")
    world.promote(second)
    back = _plan(world, "rollback", second, traffic=traffic)
    assert (back["action"], back["bake"]) == ("update", 600)


def test_every_request_of_a_plan_has_its_shape(serving: tuple[World, str]) -> None:
    """Botocore accepts what the machine sends unchanged."""
    world, _ = serving
    plan = _plan(world, "approval", world.package())
    for key, operation in [
        ("create_model", "CreateModel"),
        ("create_endpoint_config", "CreateEndpointConfig"),
        ("update_endpoint", "UpdateEndpoint"),
        ("revert_endpoint", "UpdateEndpoint"),
    ]:
        assert check_request("sagemaker", operation, plan[key]) == []
    assert check_request("cloudwatch", "PutMetricAlarm", plan["alarms"][0]) == []


def test_plan_always_has_every_key(world: World) -> None:
    """Expressions never meet an undefined value."""
    nothing = _plan(world, "approval", "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/9")
    world.store()
    create = _plan(world, "approval", world.package())
    assert set(nothing) == set(create)
    assert nothing["config_name"] is None


def test_a_retry_plans_the_same(serving: tuple[World, str]) -> None:
    """Names follow from the execution, so a repeated preflight requests nothing new."""
    world, _ = serving
    package = world.package()
    assert _plan(world, "approval", package) == _plan(world, "approval", package)


def test_an_approval_of_what_serves_is_nothing_to_do(serving: tuple[World, str]) -> None:
    """A second delivery or approval starts no rollout."""
    world, package = serving
    plan = _plan(world, "approval", package)
    assert plan["action"] == "nothing"
    assert "already serves" in plan["reason"]


def test_an_unchanged_spec_is_nothing_to_do(serving: tuple[World, str]) -> None:
    """Redeploying an unchanged stack leaves the endpoint alone."""
    world, _ = serving
    assert _plan(world, "spec")["action"] == "nothing"


def test_a_changed_spec_keeps_the_model_and_takes_effect(serving: tuple[World, str]) -> None:
    """The live package is served with the new count, which retained properties do not block."""
    world, package = serving
    world.store(replace(SPEC, instance_count=4))
    plan = _plan(world, "spec")
    assert (plan["action"], plan["reason"]) == ("update", "the serving spec changed")
    assert plan["create_model"]["Containers"] == [{"ModelPackageName": package}]
    assert plan["create_endpoint_config"]["ProductionVariants"][0]["InitialInstanceCount"] == 4
    excluded = [e["VariantPropertyType"] for e in plan["update_endpoint"]["ExcludeRetainedVariantProperties"]]
    assert excluded == ["DataCaptureConfig", "DesiredInstanceCount"]
    assert plan["min_invocations"] == 0
    assert plan["live"]["spec_sha256"] == content_hash(replace(SPEC, instance_count=4))


def test_rollback_serves_the_previous_model_at_once(serving: tuple[World, str]) -> None:
    """Without a canary, and without the alarms that the live version causes."""
    world, first = serving
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, alarms=("unit-errors",))))
    world.alarm("unit-errors", "ALARM")
    second = world.package()
    world.version("demand-forecast-00000002", second)
    world.serve("demand-forecast-00000002")
    world.point(world.pointer("demand-forecast-00000002", second, previous="demand-forecast-00000001"))
    plan = _plan(world, "rollback")
    assert plan["action"] == "update"
    assert plan["create_model"]["Containers"] == [{"ModelPackageName": first}]
    routing = plan["update_endpoint"]["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    alarms = plan["update_endpoint"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert alarms == [{"AlarmName": "demand-forecast-rollout-4588cf62-dead"}]
    assert plan["verdict"] == {}
    assert plan["candidate_package"] == first


def test_a_second_rollback_does_not_lead_to_what_the_first_fled_from(serving: tuple[World, str]) -> None:
    """The version that a rollback leaves is not kept; the plan lists the kept ones."""
    world, first = serving
    second = world.package()
    world.version("demand-forecast-00000002", second)
    world.serve("demand-forecast-00000002")
    world.point(world.pointer("demand-forecast-00000002", second, previous="demand-forecast-00000001"))
    plan = _plan(world, "rollback")
    assert (plan["live"]["model_package_arn"], plan["live"].get("previous")) == (first, None)
    assert plan["expired"] == ["demand-forecast-00000002", "demand-forecast-00000001"]


def test_rollback_goes_to_the_version_that_is_named(serving: tuple[World, str]) -> None:
    """Any approved package of the group that was promoted, kept or not."""
    world, first = serving
    target = world.package()
    world.promote(target)
    plan = _plan(world, "rollback", target)
    assert plan["action"] == "update"
    assert plan["create_model"]["Containers"] == [{"ModelPackageName": target}]
    assert (plan["reason"], plan["requested_by"]) == (f"back to {target}", "someone")
    request = replace(world.request("rollback", target), comment="returns went up")
    requested = decide(request, world.facts(request), execution=EXECUTION, now=NOW)
    assert requested.reason == f"back to {target}: returns went up"
    assert _plan(world, "rollback", first)["action"] == "nothing"
    rejected = world.package("Rejected")
    assert "approve it first" in _plan(world, "rollback", rejected)["reason"]


def test_rollback_needs_no_approval_anew(serving: tuple[World, str]) -> None:
    """Neither a freeze, a pause nor a changed rule blocks a rollback."""
    world, _ = serving
    resting = {"frozen": "frozen by 'peak'", "rests": "frozen by 'peak'", "approval": ("nobody may",)}
    target = world.package()
    world.promote(target)
    assert _plan(world, "rollback", target, **resting)["action"] == "update"
    world.store(replace(SPEC, instance_count=4))
    assert _plan(world, "spec", **resting)["action"] == "update"


def test_a_freeze_refuses_every_new_model(serving: tuple[World, str]) -> None:
    """Also one that a person approved."""
    world, _ = serving
    plan = _plan(
        world, "approval", world.package(), frozen="frozen by 'peak' until X", rests="frozen by 'peak' until X"
    )
    assert (plan["action"], plan["reason"]) == (
        "refuse",
        "frozen by 'peak' until X: no model changes; approve it again afterwards",
    )


def test_a_pause_refuses_what_the_policy_approved_only(serving: tuple[World, str]) -> None:
    """A person's approval overrides a pause."""
    world, _ = serving
    package = world.package()
    assert _plan(world, "approval", package, rests="paused since X")["action"] == "update"
    described = world.facts(world.request("approval", package)).package
    automatic = {**described, "ApprovalDescription": "approved by policy: better"}
    plan = _plan(world, "approval", package, rests="paused since X", package=automatic)
    assert plan["action"] == "refuse"
    assert plan["reason"].startswith("paused since X: no automatic approval is deployed")


def test_refuses_an_approval_that_does_not_count(serving: tuple[World, str]) -> None:
    """Rejects an approval by another person, too late, or of other content."""
    world, _ = serving
    plan = _plan(world, "approval", world.package(), approval=("eve approved it", "too late"))
    assert plan["action"] == "refuse"
    assert plan["reason"].endswith("does not count: eve approved it; too late")


def test_a_candidate_that_breaks_a_promise_gets_no_traffic(serving: tuple[World, str]) -> None:
    """Also with a person's approval; the live model is deployed again, and the reason names the breakage."""
    world, _ = serving
    broken = ("a.schema.json allows column 'x', which the model does not have; publish v2", "another")
    package = world.package()
    plan = _plan(world, "approval", package, promises=broken)
    assert plan["action"] == "refuse"
    assert plan["reason"] == f"{package} breaks a promise of an API: {broken[0]}; another"
    assert plan["create_model"] == {}

    world.store(replace(SPEC, instance_count=4))
    plan = _plan(world, "spec", promises=broken)
    assert plan["action"] == "update"
    assert plan["reason"].endswith(f"the live model breaks a promise of an API: {broken[0]}; another")


def test_a_spec_change_keeps_the_way_back_and_replaces_its_version(serving: tuple[World, str]) -> None:
    """The previous model stays reachable; the old config of the same model is removed."""
    world, first = serving
    world.version("demand-forecast-00000000", world.package())
    world.point(world.pointer("demand-forecast-00000001", first, previous="demand-forecast-00000000"))
    world.store(replace(SPEC, instance_count=3))
    plan = _plan(world, "spec")
    assert plan["live"]["previous"] == "demand-forecast-00000000"
    assert plan["expired"] == ["demand-forecast-00000001"]


def test_keeps_as_many_versions_as_the_policy_says(serving: tuple[World, str]) -> None:
    """The live version and the newest ``keep`` stay; others are removed."""
    world, first = serving
    for number in (8, 9):
        world.version(f"demand-forecast-0000000{number}", world.package())
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, keep=2)))
    kept = ("demand-forecast-00000008",)
    world.point(world.pointer("demand-forecast-00000001", first, previous="demand-forecast-00000009", kept=kept))
    plan = _plan(world, "approval", world.package())
    live = from_dict(LivePointer, plan["live"])
    assert (live.previous, live.kept) == ("demand-forecast-00000001", ("demand-forecast-00000009",))
    assert plan["expired"] == ["demand-forecast-00000008"]


PROBATION_OF: dict[str, Any] = {"probation": 3600, "probation_alarms": ("refunds",)}
PROBATION = replace(SPEC, rollout=replace(SPEC.rollout, **PROBATION_OF))


@pytest.fixture
def probation(serving: tuple[World, str]) -> tuple[World, str, str]:
    """Return a second package with a probation of another hour, and an alarm in ALARM."""
    world, first = serving
    second = world.package()
    world.store(PROBATION)
    world.version("demand-forecast-00000002", second)
    world.serve("demand-forecast-00000002")
    pointer = world.pointer("demand-forecast-00000002", second, PROBATION, previous="demand-forecast-00000001")
    world.point(replace(pointer, probation_until="2017-08-01T10:00:00Z"))
    world.alarm("refunds", "ALARM")
    return world, first, second


def test_a_new_model_goes_on_probation(serving: tuple[World, str]) -> None:
    """The plan has its length; a changed spec does not end it."""
    world, _ = serving
    world.store(PROBATION)
    plan = _plan(world, "approval", world.package())
    assert (plan["probation"], plan["probation_alarm"]["AlarmName"]) == (3600, "demand-forecast-probation-errors")
    assert plan["probation_share"]["old"]["calls"]["dimensions"]["EndpointConfigName"] == "demand-forecast-00000001"
    assert plan["probation_share"]["serves_since"] == "2017-07-01T00:00:00Z"
    changed = _plan(world, "spec")
    assert (changed["probation"], changed["probation_alarm"], changed["probation_share"]) == (0, {}, {})


def test_a_serverless_model_goes_on_probation_too(world: World) -> None:
    """Its failure limit comes from the variant's earlier hours, and golden requests are repeated on the endpoint."""
    package, name = world.package(), "demand-forecast-00000001"
    world.version(name, package)
    size = {"MemorySizeInMB": 1024, "MaxConcurrency": 5}
    variant = {"VariantName": SERVERLESS.variant, "ModelName": name, "ServerlessConfig": size}
    world.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    world.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    world.serve(name)
    spec = replace(SERVERLESS, rollout=replace(SERVERLESS.rollout, **PROBATION_OF, golden=GOLDEN))
    world.store(spec)
    world.point(world.pointer(name, package, spec))
    plan = _plan(world, "approval", world.package())
    assert (plan["action"], plan["probation"], plan["verdict"]) == ("update", 3600, {})
    assert plan["probation_alarm"]["AlarmName"] == "demand-forecast-probation-errors"
    assert set(plan["probation_share"]["before"]["calls"]["dimensions"]) == {"EndpointName", "VariantName"}
    assert plan["probation_share"].get("old") is None
    assert plan["live"]["rehearsed"] == plan["rehearsal"]["answers"]


def test_an_alarm_takes_back_during_probation(probation: tuple[World, str, str]) -> None:
    """To the version before, which has no probation."""
    world, first, _ = probation
    plan = _plan(world, "rollback", alarm="refunds")
    assert (plan["action"], plan["reason"]) == ("update", f"back to {first}: refunds is in ALARM during probation")
    assert plan["live"].get("probation_until") is None


def test_another_spec_does_not_end_a_probation(probation: tuple[World, str, str]) -> None:
    """The model is the same."""
    world, _, _ = probation
    world.store(replace(PROBATION, instance_count=4))
    assert _plan(world, "spec")["live"]["probation_until"] == "2017-08-01T10:00:00Z"


def test_nothing_is_taken_back_once_a_probation_is_over(probation: tuple[World, str, str]) -> None:
    """A probation that is over, a quiet alarm, another version and another alarm do nothing, with the reason."""
    world, _, second = probation
    world.alarm("refunds", "OK")
    assert "is no longer in ALARM: it is OK" in _plan(world, "rollback", alarm="refunds")["reason"]
    world.alarm("refunds", "ALARM")
    assert "is not an alarm of the endpoint's probation" in _plan(world, "rollback", alarm="other")["reason"]
    pointer = world.pointer("demand-forecast-00000002", second, PROBATION, previous="demand-forecast-00000001")
    world.point(replace(pointer, probation_until="2017-08-01T09:00:00Z"))
    assert "no probation is active" in _plan(world, "rollback", alarm="refunds")["reason"]
    world.point(replace(pointer, config="demand-forecast-00000001", probation_until="2017-08-01T10:00:00Z"))
    plan = _plan(world, "rollback", alarm="refunds")
    assert plan["action"] == "nothing"
    assert "demand-forecast-00000002 is live and not on probation" in plan["reason"]


GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)


def _with_golden(world: World) -> ServingSpec:
    spec = replace(SPEC, rollout=replace(SPEC.rollout, golden=GOLDEN, synthetic=60))
    world.store(spec)
    return spec


def test_a_new_model_is_rehearsed(serving: tuple[World, str]) -> None:
    """Compared with the live model; during the bake each poll sends the policy's calls per minute."""
    world, _ = serving
    spec = _with_golden(world)
    plan = _plan(world, "approval", world.package())
    assert plan["golden_sha256"] == content_hash(spec.rollout.golden)
    assert plan["rehearsal"]["endpoint"]["EndpointName"] == "demand-forecast-golden-4588cf62"
    assert (plan["rehearsal"]["golden"]["uri"], plan["rehearsal"]["live_endpoint"]) == (GOLDEN.uri, ENDPOINT)
    assert (plan["synthetic"]["calls"], plan["poll_seconds"]) == (30, 30)


def test_a_spec_is_rehearsed_unless_the_chain_shows_that_the_container_passed(serving: tuple[World, str]) -> None:
    """With the same golden requests and limits; others need a rehearsal."""
    world, package = serving
    golden = content_hash(_with_golden(world).rollout.golden)
    unseen = _plan(world, "spec")
    assert (unseen["action"], unseen["synthetic"], unseen["shadow"]) == ("update", {}, {})
    assert unseen["rehearsal"]["live_endpoint"] == ENDPOINT
    assert unseen["golden_sha256"] == golden
    world.promote(package, golden_sha256="0" * 64)
    assert _plan(world, "spec")["rehearsal"]["golden"]["sha256"] == GOLDEN.sha256
    world.promote(package, golden_sha256=golden)
    passed = _plan(world, "spec")
    assert (passed["action"], passed["rehearsal"], passed["golden_sha256"]) == ("update", {}, golden)


def test_a_way_back_is_rehearsed_unless_it_passed_the_golden_requests_of_its_time(serving: tuple[World, str]) -> None:
    """The version that it leaves is no reference."""
    world, _ = serving
    _with_golden(world)
    target = world.package(spec=replace(PACKAGE, artifact_sha256="9" * 64))
    world.promote(target)
    unseen = _plan(world, "rollback", target)
    assert unseen["action"] == "update"
    assert (unseen["rehearsal"]["golden"]["uri"], unseen["rehearsal"]["live_endpoint"]) == (GOLDEN.uri, None)
    world.promote(target, golden_sha256="0" * 64)
    passed = _plan(world, "rollback", target)
    assert (passed["rehearsal"], passed["golden_sha256"]) == ({}, "0" * 64)


def test_a_way_back_leads_only_to_what_was_promoted(serving: tuple[World, str]) -> None:
    """Not to a package that is only approved, nor to a failed rollout; containers are promoted."""
    world, _ = serving
    spec = replace(PACKAGE, artifact_sha256="9" * 64)
    target, same = world.package(spec=spec), world.package(spec=spec)
    refused = _plan(world, "rollback", target)
    assert refused["action"] == "refuse"
    held = package_request(spec)["CustomerMetadataProperties"]["container_sha256"]
    assert f"the audit chain does not show that {target} was promoted as it is ({held})" in refused["reason"]
    world.promote(target, outcome=Outcome.FAILED)
    assert _plan(world, "rollback", target)["action"] == "refuse"
    world.promote(target)
    assert {_plan(world, "rollback", each)["action"] for each in (target, same)} == {"update"}


def test_a_forged_row_shows_no_promotion(serving: tuple[World, str]) -> None:
    """The record with the hash decides, not a reference to it."""
    world, _ = serving
    target = world.package(spec=replace(PACKAGE, artifact_sha256="9" * 64))
    held = package_request(replace(PACKAGE, artifact_sha256="9" * 64))["CustomerMetadataProperties"]["container_sha256"]
    for forged in (Promoted(container_sha256=held, sequence=1, sha256="f" * 64), world.table.read()):
        head = forged.sha256 if isinstance(forged, Promoted) else forged.audit_head
        entry = Promoted(container_sha256=held, sequence=1, sha256=head)
        world.dynamodb.update_item(
            TableName="rollout",
            Key={"endpoint": {"S": ENDPOINT}},
            UpdateExpression="SET promoted = :promoted",
            ExpressionAttributeValues={":promoted": {"S": canonical_json([entry]).decode()}},
        )
        assert "does not show" in _plan(world, "rollback", target)["reason"]


@pytest.mark.parametrize("reason", ["spec", "rollback", "approval"])
def test_a_package_that_was_changed_is_deployed_by_nobody(serving: tuple[World, str], reason: str) -> None:
    """Every path to traffic rejects the changed image, also by digest, and names the difference."""
    world, first = serving
    world.store(replace(SPEC, instance_count=4))
    container = {**package_request(PACKAGE)["InferenceSpecification"]["Containers"][0]}
    changed = container | {"Image": PACKAGE.image.replace("1" * 64, "2" * 64)}
    described = world.sagemaker.describe_model_package(ModelPackageName=first)
    known = described | {"InferenceSpecification": described["InferenceSpecification"] | {"Containers": [changed]}}
    plan = _plan(world, reason, first if reason != "spec" else None, package=known)
    assert plan["action"] == "refuse"
    assert f"it was changed after it was registered: Image is now {changed['Image']!r}" in plan["reason"]


def test_a_spec_deploys_what_serves_by_its_hash(serving: tuple[World, str]) -> None:
    """Also if the changed package was bound again and the chain shows the other container too."""
    world, first = serving
    world.store(replace(SPEC, instance_count=4))
    assert _plan(world, "spec")["container_sha256"] == world.pointer("x", first).container_sha256
    world.point(world.pointer("demand-forecast-00000001", first, container_sha256="d" * 64))
    refused = _plan(world, "spec")
    assert refused["action"] == "refuse"
    assert f"serves container {'d' * 64}, but {first} now has" in refused["reason"]


def test_what_serves_and_was_never_promoted_needs_an_approval_that_counts(serving: tuple[World, str]) -> None:
    """For example a version left by an execution that died before its record."""
    world, _ = serving
    second = world.package(spec=replace(PACKAGE, artifact_sha256="9" * 64))
    world.version("demand-forecast-00000002", second)
    world.serve("demand-forecast-00000002")
    assert _plan(world, "spec")["action"] == "update"
    refused = _plan(world, "spec", approval=("nobody may",))
    assert refused["action"] == "refuse"
    assert refused["reason"].endswith("and its approval does not count: nobody may")


def test_a_new_model_is_shadowed_and_nothing_else_is(serving: tuple[World, str]) -> None:
    """Under its own config, evaluated by the policy's limits."""
    world, _ = serving
    rollout = replace(SPEC.rollout, shadow=ShadowSpec(percent=10, bake=144000), max_latency_ms=100, max_error_count=3)
    world.store(replace(SPEC, rollout=rollout))
    shadow = _plan(world, "approval", world.package())["shadow"]
    name = shadow["config"]["EndpointConfigName"]
    assert name not in (NAME, "demand-forecast-00000001")
    assert name == shadow["update"]["EndpointConfigName"]
    assert (shadow["max_errors"], shadow["max_latency"], shadow["variant"]) == (3, 100_000, "Shadow")
    assert shadow["bake"] / shadow["period"] <= 1440
    assert shadow["verdict"]["new"]["calls"]["dimensions"]["VariantName"] == "Shadow"
    assert shadow["verdict"]["fleet"] == name
    assert _plan(world, "spec")["shadow"] == {}


def test_a_first_model_is_rehearsed_with_nothing_to_compare(world: World) -> None:
    """There is no live model yet."""
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, golden=GOLDEN)))
    plan = _plan(world, "approval", world.package())
    assert (plan["action"], plan["rehearsal"]["live_endpoint"]) == ("create", None)


SCALED = replace(SPEC, scaling=ScalingSpec(minimum=2, maximum=4, target=100.0))


def test_scaling_is_registered_once_and_taken_back_where_it_changes(serving: tuple[World, str]) -> None:
    """A new model under the same spec keeps scaling; another instance type requires deregistration first."""
    world, package = serving
    world.store(SCALED)
    first = _plan(world, "spec")["scaling"]
    assert (len(first["targets"]), first["deregister"]) == (1, [])
    world.point(world.pointer("demand-forecast-00000001", package, SCALED))
    assert _plan(world, "approval", world.package())["scaling"] == no_scaling()
    world.store(replace(SCALED, instance_type="ml.m5.xlarge"))
    changed = _plan(world, "spec")["scaling"]
    assert (len(changed["targets"]), len(changed["deregister"])) == (1, 1)
    world.store(SPEC)
    dropped = _plan(world, "spec")["scaling"]
    assert (len(dropped["targets"]), len(dropped["deregister"])) == (0, 1)


def test_a_variant_may_only_come_all_at_once(serving: tuple[World, str]) -> None:
    """SageMaker shifts equal sets of variants in steps, and others silently all at once."""
    world, _ = serving
    arm = VariantSpec(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.25)
    world.store(replace(SPEC, variants=(arm,)))
    plan = _plan(world, "spec")
    assert plan["action"] == "refuse"
    assert "variants change from AllTraffic to AllTraffic, Arm" in plan["reason"]
    at_once = replace(SPEC.rollout, kind="ALL_AT_ONCE", percent=None)
    world.store(replace(SPEC, variants=(arm,), rollout=at_once))
    assert _plan(world, "spec")["action"] == "update"


def test_what_executions_that_died_have_left_is_in_every_plan(serving: tuple[World, str]) -> None:
    """Also in plans without an action; not while an operation, which may use them, is in progress."""
    world, package = serving
    world.version("demand-forecast-0badc0de", package)
    assert _plan(world, "spec")["leftovers"]["versions"] == ["demand-forecast-0badc0de"]
    busy = Serving(status="Updating", config="c", version=None)
    assert _plan(world, "spec", serving=busy)["leftovers"]["versions"] == []


def test_the_largest_plan_is_far_below_what_a_state_may_carry(serving: tuple[World, str]) -> None:
    """AWS's limit is 256 KiB, ours a quarter of it; the record gets plan and request."""
    world, _ = serving
    rules = tuple(MetricRule(namespace="Shop", metric=f"M{n}" * 20, threshold=1.0) for n in range(6))
    rollout = replace(SPEC.rollout, golden=GOLDEN, synthetic=60, max_latency_ms=9, max_latency_ratio=2.0, metrics=rules)
    schedules = tuple(
        ScheduledCapacitySpec(name=f"s{n}", schedule="cron(0 6 * * ? *)", minimum=2, maximum=4) for n in range(20)
    )
    scaling = ScalingSpec(minimum=2, maximum=4, target=100.0, schedules=schedules)
    tags = {f"mlops:tag-{n}": "x" * 60 for n in range(20)}
    world.store(replace(SPEC, rollout=rollout, scaling=scaling, tags=tags))
    plan = _plan(world, "approval", world.package())
    assert (plan["action"], len(plan["alarms"])) == ("update", 10)
    assert len(json.dumps(plan)) < 56 * 1024


def test_the_endpoint_is_believed_before_the_pointer(serving: tuple[World, str]) -> None:
    """A config unknown to the row is the start of the rollout, and the reason names it."""
    world, first = serving
    world.version("demand-forecast-by-hand", first)
    world.serve("demand-forecast-by-hand")
    plan = _plan(world, "approval", first)
    assert plan["action"] == "update"
    assert plan["previous_config"] == "demand-forecast-by-hand"
    assert "demand-forecast-00000001 is recorded" in plan["reason"]


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_waits_while_something_is_under_way(serving: tuple[World, str], status: str) -> None:
    """SageMaker would reject the update; each operation ends by itself."""
    world, _ = serving
    plan = _plan(world, "approval", world.package(), serving=Serving(status=status, config="c", version=None))
    assert (plan["action"], plan["reason"]) == ("wait", f"the endpoint is {status}")


def test_refuses_a_failed_endpoint_with_the_way_out(serving: tuple[World, str]) -> None:
    """Only deletion helps, and the failure reason is included."""
    world, _ = serving
    failed = Serving(status="Failed", config="c", version=None, failure="no capacity")
    plan = _plan(world, "approval", world.package(), serving=failed)
    assert "it can only be deleted" in plan["reason"]
    assert plan["reason"].endswith("(no capacity)")


@pytest.mark.parametrize("state", ["ALARM", None])
def test_refuses_when_rollback_alarms_ring_or_are_missing(serving: tuple[World, str], state: str | None) -> None:
    """An alarm in ALARM ends every deployment; a missing one ends none."""
    world, _ = serving
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, alarms=("unit-errors",))))
    if state is not None:
        world.alarm("unit-errors", state)
    plan = _plan(world, "approval", world.package())
    assert plan["action"] == "refuse"
    assert ("already in ALARM: unit-errors" if state else "do not exist: unit-errors") in plan["reason"]


def test_an_alarm_that_a_failing_live_model_keeps_in_alarm_is_not_watched(serving: tuple[World, str]) -> None:
    """Otherwise no successor could be deployed; other alarms stay, and the reason names the excluded ones."""
    world, _ = serving
    spec = replace(SPEC, rollout=replace(SPEC.rollout, alarms=("refunds", "unit-errors")))
    world.store(spec)
    world.alarm("refunds", "ALARM")
    world.alarm("unit-errors", "OK")
    package = world.package()

    plan = _plan(world, "approval", package, answers=Counts(calls=5000, failed=1200))
    refused = _plan(world, "approval", package, answers=Counts(calls=5000, failed=40))

    assert plan["action"] == "update"
    assert plan["reason"].endswith(
        "; not watched because already in ALARM: refunds; 1,200 of 5,000 answers of the live model failed in the hour before"
    )
    watched = plan["update_endpoint"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [each["AlarmName"] for each in watched][-1] == "unit-errors" == plan["watched"][-1]
    assert "refunds" not in str(watched) + str(plan["watched"])
    assert plan["live"]["spec_sha256"] == content_hash(spec)
    assert refused["action"] == "refuse"
    assert "40 of 5,000 answers of the live model failed" in refused["reason"]


def test_goes_on_when_rollback_alarms_are_quiet(serving: tuple[World, str]) -> None:
    """OK and INSUFFICIENT_DATA are quiet."""
    world, _ = serving
    world.store(replace(SPEC, rollout=replace(SPEC.rollout, alarms=("unit-errors",))))
    world.alarm("unit-errors", "INSUFFICIENT_DATA")
    assert _plan(world, "approval", world.package())["action"] == "update"


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Rejected"])
def test_refuses_what_the_registry_does_not_call_approved(world: World, approval: str) -> None:
    """The request claims approval; the registry is read again."""
    world.store()
    plan = _plan(world, "approval", world.package(approval))
    assert plan["action"] == "refuse"
    assert f"is {approval} (Completed); approve it first" in plan["reason"]


def test_refuses_a_package_whose_digests_disagree(world: World) -> None:
    """The server must verify the evaluated content."""
    world.store()
    package = world.package(CustomerMetadataProperties={"model_sha256": "d" * 64})
    plan = _plan(world, "approval", package)
    assert plan["action"] == "refuse"
    assert "MLOPS_MODEL_SHA256 of the container is" in plan["reason"]
    assert "CustomerMetadataProperties.artifact_sha256 is missing" in plan["reason"]


def test_refuses_a_package_of_another_group(world: World) -> None:
    """An endpoint serves one group."""
    world.store()
    world.sagemaker.create_model_package_group(ModelPackageGroupName="other")
    plan = _plan(world, "approval", world.package(spec=replace(PACKAGE, group="other")))
    assert "belongs to group 'other', not 'demand-forecast'" in plan["reason"]


def test_refuses_an_approval_before_any_spec(world: World) -> None:
    """A spec is required to serve."""
    assert "no serving spec is stored yet" in _plan(world, "approval", world.package())["reason"]


def test_refuses_a_package_that_does_not_exist(world: World) -> None:
    """A forged request names an unknown package."""
    world.store()
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/99"
    assert _plan(world, "approval", arn)["reason"] == f"model package {arn} does not exist"


def test_refuses_another_variant_name(serving: tuple[World, str]) -> None:
    """Blue/green needs the same variant; otherwise SageMaker goes all at once without a bake."""
    world, _ = serving
    world.store(replace(SPEC, variant="Other"))
    assert "variant must stay 'AllTraffic'" in _plan(world, "spec")["reason"]


def test_refuses_a_rollback_without_a_previous_model(serving: tuple[World, str]) -> None:
    """The first model has no predecessor."""
    world, _ = serving
    assert "no previous version" in _plan(world, "rollback")["reason"]


def test_refuses_when_the_way_back_was_deleted(serving: tuple[World, str]) -> None:
    """Without the serving config a deployment could not be rolled back."""
    world, _ = serving
    lost = Serving(status="InService", config="demand-forecast-00000001", version=None)
    plan = _plan(world, "approval", world.package(), serving=lost)
    assert "could not roll back" in plan["reason"]


def test_refuses_a_stored_spec_that_cannot_be_served(world: World) -> None:
    """The spec is validated again at use."""
    package = world.package()
    plan = _plan(world, "approval", package, spec=replace(SPEC, instance_count=1))
    assert "use 2 instances" in plan["reason"]


def test_fails_when_a_stored_spec_was_changed(world: World) -> None:
    """The key contains the content's hash."""
    uri = world.store()
    content = world.s3.get_object(Bucket="artifacts", Key=uri.removeprefix("s3://artifacts/"))["Body"].read()
    assert verified_spec(uri, content) == SPEC
    with pytest.raises(SpecError, match="was changed after it was stored"):
        verified_spec(uri, content.replace(b'"instance_count":2', b'"instance_count":9'))


def test_the_plan_names_who_approved(serving: tuple[World, str]) -> None:
    """From the registry's record of the last change, if any."""
    world, _ = serving
    package = world.package()
    request = world.request("approval", package)
    facts = world.facts(request)
    assert facts.package is not None
    modified = {"IamIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/reviewer/anna"}}
    described = {**facts.package, "LastModifiedBy": modified}
    plan = decide(request, replace(facts, package=described), execution=EXECUTION, now=NOW)
    assert plan.requested_by == "arn:aws:sts::123456789012:assumed-role/reviewer/anna"
    assert plan.endpoint == ENDPOINT


@pytest.mark.parametrize("reason", ["spec", "rollback", "approval"])
def test_a_model_that_the_registry_forbids_is_loaded_no_more(world: World, reason: str) -> None:
    """On no path to traffic, also if it serves already: it stays, and the reason has the fix."""
    package = world.package(spec=replace(PACKAGE, flavor="pickle", trust="pickle"))
    world.version("demand-forecast-00000001", package)
    world.serve("demand-forecast-00000001")
    world.store(replace(SPEC, instance_count=4))
    world.promote(package)
    world.point(world.pointer("demand-forecast-00000001", package))
    plan = _plan(world, reason, None if reason == "spec" else package)
    assert plan["action"] == "refuse"
    assert plan["reason"].startswith(f"model package {package} may not be loaded: the model is loaded by pickle with")
    assert plan["reason"].endswith("and deploy the stack; the live version stays")
    assert _plan(world, "spec", trust=())["action"] == "update"
