"""Preflight: the plan of a Deploy execution, decided on facts that are read from their sources, not on the request's content.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from dataclasses import replace
from datetime import datetime

from mlops_runtime.contracts import content_hash, from_json, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, DeployReason, DeployRequest, RolloutSpec, ServingSpec, spec_key
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.eks.slot_plan import SlotPlan, at_rest, misplaced, on_slots
from mlops_runtime.registry.model_package import PackageError, RegisteredPackage
from mlops_runtime.registry.package_approval import approval_reason
from mlops_runtime.rollout import sagemaker_requests
from mlops_runtime.rollout.dead_execution import discarded, recovered, resumed_scaling
from mlops_runtime.rollout.deploy_plan import (
    AnyPlan,
    BusyError,
    Facts,
    NothingToDoError,
    RefusedError,
    SageMakerPlan,
    live_pointer,
    look_seconds,
    poll_seconds,
)
from mlops_runtime.rollout.evidence_requests import (
    VerdictRequest,
    bodies_request,
    pairs_request,
    sagemaker_verdict,
    shadow_verdict,
)
from mlops_runtime.rollout.execution_names import shadow_name
from mlops_runtime.rollout.fleet_alarms import FleetAlarms, verdict_alarm
from mlops_runtime.rollout.live_failures import unwatched
from mlops_runtime.rollout.live_fleet import Serving, Version
from mlops_runtime.rollout.permission import (
    approved,
    check_made,
    check_probation,
    check_quiet,
    check_quota,
    check_variants,
    desired,
    settled,
)
from mlops_runtime.rollout.plan_requests import RehearsalRequest, ShadowRequest, SyntheticRequest
from mlops_runtime.rollout.planned_bake import PlannedBake, planned_bake
from mlops_runtime.rollout.probation_alarm import alarm_request
from mlops_runtime.rollout.probation_share import endpoint_share
from mlops_runtime.rollout.rehearsed_answers import answers_key, golden_repeat
from mlops_runtime.rollout.rollout_case import Case, pointer, serves_since
from mlops_runtime.rollout.rollout_table import golden_sha256
from mlops_runtime.rollout.sagemaker_requests import planned_scaling
from mlops_runtime.rollout.serving_limits import SpecError, step_shares

_NO_LIMIT = -1


def wanted_package(request: DeployRequest, serving: Serving | None, previous: str | None) -> str | None:
    """Return the package of a request: the requested one, the live one for a spec change, or the previous one for a rollback."""
    if request.reason is DeployReason.APPROVAL:
        return request.model_package_arn
    if request.reason is DeployReason.ROLLBACK:
        return previous if request.model_package_arn is None else request.model_package_arn
    return None if serving is None or serving.version is None else serving.version.package


def verified_spec(uri: str, document: bytes) -> ServingSpec:
    """Return a stored spec after checking its content against the hash in its key.

    Raises:
        ContractError: If it is not a serving spec.
        SpecError: If it was changed after it was stored.
    """
    spec = from_json(ServingSpec, document)
    expected = spec_key(spec.endpoint, content_hash(spec))
    if not uri.endswith("/" + expected):
        raise SpecError(f"the spec at {uri} was changed after it was stored: its content belongs to {expected}")
    return spec


def decide(request: DeployRequest, facts: Facts, *, execution: str, now: datetime) -> SageMakerPlan | SlotPlan:
    """Return the plan of one execution.

    Args:
        request: The request; its claims about the state of resources are not trusted.
        facts: Facts from the sources.
        execution: ARN of the execution; names derive from it, so that a retry returns the same plan.
        now: Current time of the cloud.
    """
    blank = _blank(request, facts, now)
    if blank.action == "wait":
        return blank
    if isinstance(blank, SageMakerPlan) and facts.never_served:
        if request.died is not None:
            return discarded(blank, facts)
        if request.reason is DeployReason.APPROVAL:
            blank, facts = replace(blank, remove=facts.row.endpoint), replace(facts, serving=None)
    try:
        settled(facts.serving, never_served=facts.never_served)
        blank = replace(blank, leftovers=facts.leftovers)
        if isinstance(blank, SageMakerPlan):
            blank = replace(blank, scaling=resumed_scaling(request, facts))
        return _plan(blank, request, facts, execution, now)
    except BusyError as busy:
        return replace(blank, action="wait", reason=str(busy))
    except NothingToDoError as nothing:
        return replace(blank, reason=str(nothing))
    except (RefusedError, PackageError, SpecError) as refused:
        return replace(blank, action="refuse", reason=str(refused))


def _blank(request: DeployRequest, facts: Facts, now: datetime) -> SageMakerPlan | SlotPlan:
    """Return a plan without actions, or one that waits until one slot has all the traffic."""
    live, endpoint, started, package = live_pointer(facts.row), facts.row.endpoint, _iso(now), request.model_package_arn
    if facts.slots is None:
        return SageMakerPlan(
            action="nothing", reason="", endpoint=endpoint, started=started, candidate_package=package, live=live
        )
    found = misplaced(facts.slots, live=None if live is None else live.config)
    start, reason = (None, "") if found is None else found
    return SlotPlan(
        action="nothing" if found is None else "wait",
        reason=reason,
        endpoint=endpoint,
        started=started,
        candidate_package=package,
        live=live,
        eks=at_rest(facts.slots, start),
    )


def _plan(
    blank: SageMakerPlan | SlotPlan, request: DeployRequest, facts: Facts, execution: str, now: datetime
) -> SageMakerPlan | SlotPlan:
    spec, serving = desired(facts), facts.serving
    if serving is None and request.reason is not DeployReason.APPROVAL:
        raise NothingToDoError("NOT_YET_DEPLOYED: no model serves yet; the first approval creates the endpoint")
    check_probation(request, facts, now)
    if isinstance(blank, SageMakerPlan) and request.died is not None:
        left = recovered(blank, request, facts, now)
        if left is not None:
            return left
    package = approved(request, facts)
    blank = replace(
        blank,
        candidate_package=package.arn,
        requested_by=_by(request, package),
        container_sha256=package.container_sha256,
    )
    _check_unlike_live(request, facts, package)
    case = Case(
        request=request,
        facts=facts,
        spec=_as_requested(spec, request, facts.promotion),
        package=package,
        execution=execution,
        now=now,
    )
    if (facts.slots is None) is not (spec.eks is None):
        raise RefusedError(
            "the stored spec and the stack's functions are for different targets; deploy the stack again"
        )
    if isinstance(blank, SlotPlan):
        return _between_slots(_common(blank, case), case)
    common = _made(_common(blank, case), case)
    if serving is None:
        endpoint = sagemaker_requests.render_endpoint(spec, config=case.name, execution=execution)
        reason = f"first model: {package.arn}{_approval_text(package)}" + check_quota(spec, (), facts.quotas)
        return replace(common, action="create", reason=reason, create_endpoint=endpoint)
    if serving.version is None:
        raise RefusedError(
            f"the live config {serving.config} or its model was deleted: a deployment could not roll back"
        )
    return _update(common, case, serving.version)


def _common(blank: AnyPlan, case: Case) -> AnyPlan:
    """Set the fields of a plan that are common to all targets."""
    rollout = case.spec.rollout
    return replace(
        blank,
        variant=case.spec.variant,
        model_name=case.name,
        config_name=case.name,
        bake=rollout.bake,
        poll_seconds=poll_seconds(rollout.maximum),
        look_seconds=look_seconds(rollout.maximum),
        live=pointer(case),
    )


def _change(common: AnyPlan, case: Case, version: Version) -> AnyPlan:
    """Set the fields of a plan that are common to all changes of the live version."""
    rollout = case.spec.rollout
    return replace(
        common,
        action="update",
        reason=_why(case, version),
        previous_config=version.config,
        min_invocations=rollout.min_invocations if case.is_approval else 0,
        probation=(rollout.probation or 0) if case.is_approval else 0,
    )


def _between_slots(common: SlotPlan, case: Case) -> SlotPlan:
    slots, version = case.facts.slots, None if case.facts.serving is None else case.facts.serving.version
    if slots is None:
        raise TypeError("facts of a slot plan must have slots")
    if version is None:
        plan = replace(common, action="create", reason=f"first model: {case.package.arn}{_approval_text(case.package)}")
    else:
        left_out = check_quiet(case.spec, case.facts.alarm_states, case.facts.answers)
        case = _watching(case)
        # a rollback is not watched, so a missing alarm does not block it
        watched = () if case.is_rollback else eks_of(case.spec).alarms.get(common.eks.slot, ())
        check_made(watched, case.facts.alarm_states)
        plan = _change(common, case, version)
        plan = replace(plan, reason=plan.reason + left_out)
    return on_slots(
        replace(plan, golden_sha256=golden_sha256(case.spec) or _shown_golden(case.facts.promotion)),
        spec=case.spec,
        slots=slots,
        package=case.package,
        live=pointer(case),
        execution=case.execution,
        is_rollback=case.is_rollback,
        serves_since=serves_since(case.facts),
    )


def _made(common: SageMakerPlan, case: Case) -> SageMakerPlan:
    spec, name, execution = case.spec, case.name, case.execution
    return replace(
        common,
        create_model=sagemaker_requests.render_model(spec, package=case.package.arn, name=name, execution=execution),
        create_endpoint_config=sagemaker_requests.render_endpoint_config(spec, name=name, execution=execution),
        rehearsal=_rehearsal(case),
        golden_sha256=golden_sha256(case.spec) or _shown_golden(case.facts.promotion),
        scaling=planned_scaling(spec, case.facts),
    )


def _watching(case: Case) -> Case:
    """Return the case without the alarms that a failing live model keeps in ALARM."""
    rollout = case.spec.rollout
    left_out = unwatched(rollout.alarms, case.facts.alarm_states, case.facts.answers)
    alarms = tuple(name for name in rollout.alarms if name not in left_out)
    return replace(case, spec=replace(case.spec, rollout=replace(rollout, alarms=alarms)))


def _update(common: SageMakerPlan, case: Case, version: Version) -> SageMakerPlan:
    check_variants(case.spec, version)
    left_out = check_quiet(case.spec, case.facts.alarm_states, case.facts.answers)
    case = _watching(case)
    spec, rollout = case.spec, case.spec.rollout
    unread = check_quota(spec, version.variants, case.facts.quotas)
    alarms = FleetAlarms(
        spec=spec, config=case.name, previous=version.config, execution=case.execution, is_rollback=case.is_rollback
    )
    # deployment guardrails do not support serverless endpoints: no alarm would be evaluated
    names = alarms.names if spec.serverless is None else ()
    changed = _change(common, case, version)
    baked = _planned(case)
    share = endpoint_share(spec, previous=version.config, since=_iso(case.now), serves_since=serves_since(case.facts))
    return replace(
        changed,
        reason=changed.reason + unread + left_out,
        bake=baked.seconds,
        update_endpoint=sagemaker_requests.render_update(
            spec, config=case.name, live=version.variants, alarms=names, bake=baked.seconds
        ),
        revert_endpoint=sagemaker_requests.render_revert(spec, config=version.config, live=version.variants),
        alarms=tuple(alarms.requests()) if names else (),
        alarm_names=names,
        watched=(*names, *rollout.alarms),
        expired=case.follows.expired,
        synthetic=_synthetic(rollout, common.poll_seconds),
        shadow=_shadow(case, version),
        verdict=_verdict(case, version, baked.why) if names and not case.is_rollback else None,
        again=None if case.is_rollback else golden_repeat(spec, case.name),
        bodies=None if case.is_rollback else bodies_request(spec, since=_iso(case.now)),
        stop=verdict_alarm(spec.endpoint, case.name) if names and not case.is_rollback else None,
        probation_alarm=alarm_request(spec, case.execution, share.before) if changed.probation else None,
        probation_share=share if changed.probation else None,
    )


def _planned(case: Case) -> PlannedBake:
    """Plan the bake in advance: SageMaker's waits are fixed once the update has begun."""
    spec, rollout = case.spec, case.spec.rollout
    if case.is_rollback or case.facts.traffic is None:
        return PlannedBake(seconds=rollout.bake)
    shares = step_shares(rollout.kind, rollout.percent, spec.instance_count)
    return planned_bake(rollout, shares, case.facts.traffic)


def _verdict(case: Case, version: Version, planned: str) -> VerdictRequest:
    return sagemaker_verdict(
        case.spec, config=case.name, previous=version.config, since=_iso(case.now), planned=planned or None
    )


def _shadow(case: Case, version: Version) -> ShadowRequest | None:
    spec, shadow, latency = case.spec, case.spec.rollout.shadow, case.spec.rollout.max_latency_ms
    if shadow is None:
        return None
    name, variant = shadow_name(spec.endpoint, case.execution), sagemaker_requests.SHADOW_VARIANT
    calls = sagemaker_requests.render_shadow(
        spec, shadow, model=case.name, name=name, live=version, execution=case.execution
    )
    return ShadowRequest(
        config=calls["config"],
        update=calls["update"],
        variant=variant,
        bake=shadow.bake,
        # CloudWatch returns at most 1,440 datapoints
        period=max(spec.rollout.alarm_period, -(-shadow.bake // 72000) * 60),
        verdict=shadow_verdict(spec, config=name, variant=variant, since=_iso(case.now)),
        pairs=pairs_request(spec, live=version.variants[0].name, shadow=variant),
        max_errors=_NO_LIMIT if spec.rollout.max_error_count is None else spec.rollout.max_error_count,
        max_latency=0 if latency is None else latency * 1000,
    )


def _synthetic(rollout: RolloutSpec, poll: int) -> SyntheticRequest | None:
    if rollout.golden is None or rollout.synthetic is None:
        return None
    return SyntheticRequest(golden=rollout.golden, calls=max(1, rollout.synthetic * poll // 60))


def _as_requested(spec: ServingSpec, request: DeployRequest, shown: AuditRecord | None) -> ServingSpec:
    """Return the spec for this kind of request: only a new model gets a shadow.

    A model is rehearsed unless the chain shows that it passed the golden requests. A rollback shifts all traffic at once and
    watches no alarms, since those that the live fleet keeps in ALARM must not block it.
    """
    rollout = spec.rollout
    if request.reason is DeployReason.APPROVAL:
        return spec
    golden = None if _has_passed(spec, request, shown) else rollout.golden
    rollout = replace(rollout, golden=golden, synthetic=None, shadow=None)
    if request.reason is DeployReason.ROLLBACK:
        rollout = replace(rollout, kind="ALL_AT_ONCE", percent=None, alarms=(), min_invocations=0)
    return replace(spec, rollout=rollout)


def _has_passed(spec: ServingSpec, request: DeployRequest, shown: AuditRecord | None) -> bool:
    """Whether the chain shows that this exact container passed the golden requests; for a rollback, those of its promotion."""
    if shown is None or shown.golden_sha256 is None:
        return False
    return request.reason is DeployReason.ROLLBACK or shown.golden_sha256 == golden_sha256(spec)


def _shown_golden(shown: AuditRecord | None) -> str | None:
    return None if shown is None else shown.golden_sha256


def _rehearsal(case: Case) -> RehearsalRequest | None:
    golden = case.spec.rollout.golden
    if golden is None:
        return None
    calls = sagemaker_requests.render_rehearsal(case.spec, model=case.name, execution=case.execution)
    return RehearsalRequest(
        config=calls["config"],
        endpoint=calls["endpoint"],
        golden=golden,
        answers=answers_key(case.spec.endpoint, case.name),
        # a rollback is not compared with the version that it replaces
        live_endpoint=None if case.facts.serving is None or case.is_rollback else case.spec.endpoint,
    )


def _check_unlike_live(request: DeployRequest, facts: Facts, package: RegisteredPackage) -> None:
    live, serving, spec = live_pointer(facts.row), facts.serving, facts.spec
    if live is None or serving is None or spec is None or serving.config != live.config:
        return
    is_same = live.model_package_arn == package.arn
    if is_same and (request.reason is DeployReason.ROLLBACK or live.spec_sha256 == content_hash(spec)):
        raise NothingToDoError(f"{package.arn} already serves under this spec, as {live.config}")


def _why(case: Case, version: Version) -> str:
    live, alarm, package = live_pointer(case.facts.row), case.request.alarm, case.package.arn
    because = case.request.comment if alarm is None else f"{alarm} is in ALARM during probation"
    what = {
        DeployReason.APPROVAL: f"approved: {package}{_approval_text(case.package)}",
        DeployReason.SPEC: "the serving spec changed" + _unkept(case.facts.promises),
        DeployReason.ROLLBACK: f"back to {package}" + ("" if because is None else f": {because}"),
    }[case.request.reason]
    if live is None or live.config != version.config:
        recorded = "nothing" if live is None else live.config
        return f"{what}; the endpoint serves {version.config}, but {recorded} is recorded"
    return what


def _approval_text(package: RegisteredPackage) -> str:
    """Return the approver's reason, to follow the package."""
    reason = approval_reason(package.approval_description)
    return f": {reason}" if reason else ""


def _unkept(problems: tuple[str, ...]) -> str:
    """Return broken promises as a remark: the model is already live, so refusing it would gain nothing."""
    return f"; the live model breaks a promise of an API: {'; '.join(problems)}" if problems else ""


def _by(request: DeployRequest, package: RegisteredPackage) -> str | None:
    """Return the responsible user: the approver in the registry for an approval, else the requester."""
    return package.approved_by if request.reason is DeployReason.APPROVAL else request.requested_by


def _iso(at: datetime) -> str:
    return str(to_dict(at))
