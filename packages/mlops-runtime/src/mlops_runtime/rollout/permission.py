"""Whether a request may be carried out now: endpoint at rest, unit not frozen, approval valid, probation still on, alarms quiet."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, ServingSpec
from mlops_runtime.registry.model_package import RegisteredPackage, read_package
from mlops_runtime.registry.package_approval import is_automatic
from mlops_runtime.rollout.deploy_plan import BusyError, Facts, NothingToDoError, RefusedError, live_pointer
from mlops_runtime.rollout.fleet_capacity import conversion_problem
from mlops_runtime.rollout.instance_quota import Quotas, needed, quota_problems
from mlops_runtime.rollout.live_failures import ringing, unwatched
from mlops_runtime.rollout.live_fleet import Serving, Variant, Version
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.serving_limits import check_spec

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: each of these ends by itself
_UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


def desired(facts: Facts) -> ServingSpec:
    """Return the spec to serve by.

    Raises:
        RefusedError: If it is missing.
        SpecError: If nothing can be served by it.
    """
    if facts.spec is None:
        raise RefusedError("no serving spec is stored yet; deploy the stack, then approve the package again")
    return check_spec(facts.spec)


def settled(serving: Serving | None, *, never_served: bool = False) -> Serving | None:
    """Return the live version, after checking that no change is under way.

    Args:
        serving: The live version.
        never_served: Whether it is a first endpoint of ours that failed. Default: it is not.

    Raises:
        BusyError: If something is.
        RefusedError: If no update is possible.
    """
    if serving is None or serving.status == "InService":
        return serving
    if serving.status in _UNDER_WAY:
        raise BusyError(f"the endpoint is {serving.status}")
    if never_served:
        fix = "it was never live, so the next approval deletes and recreates it; approve a package"
    elif serving.status in ("Failed", "OutOfService"):
        fix = "it can only be deleted; delete it, then approve the package again"
    else:
        fix = "it serves a mix of old and new; check its events and update it by hand"
    raise RefusedError(
        f"the endpoint is {serving.status}: {fix}" + (f" ({serving.failure})" if serving.failure else "")
    )


def approved(request: DeployRequest, facts: Facts) -> RegisteredPackage:
    """Return the package that the request is about, if the registry says that it may be deployed.

    Its archive must be what was signed, if it says that it was. An approval counts only if an approver gave it in time for what the
    package holds now, and for a model that takes what APIs promise of the endpoint. A way back leads only to a container that the
    audit chain shows as promoted: it went through that, and a rule that changed since must not block it. A spec deploys again the
    version that the live pointer names by its hash; a live version that was never promoted needs a valid approval. None of them
    loads a model that the registry does not allow any more: where pickles are forbidden, an endpoint need not be isolated.

    Raises:
        RefusedError: If it does not exist, belongs elsewhere, or is not approved.
        PackageError: If it cannot be deployed safely.
    """
    if facts.package is None:
        raise RefusedError(_absent(request))
    package = read_package(facts.package)
    if package.spec.group != facts.group:
        raise RefusedError(f"model package {package.arn} belongs to group {package.spec.group!r}, not {facts.group!r}")
    if facts.signature:
        raise RefusedError(f"the archive of {package.arn} is not what was signed: {'; '.join(facts.signature)}")
    if facts.trust:
        raise RefusedError(
            f"model package {package.arn} may not be loaded: {'; '.join(facts.trust)}; the live version stays"
        )
    if not package.is_approved:
        raise RefusedError(f"model package {package.arn} is {package.approval} ({package.status}); approve it first")
    if request.reason is DeployReason.APPROVAL:
        if facts.approval:
            raise RefusedError(f"the approval of {package.arn} does not count: {'; '.join(facts.approval)}")
        if facts.promises:
            raise RefusedError(f"{package.arn} breaks what an API promises: {'; '.join(facts.promises)}")
        _check_not_resting(facts, facts.package)
    else:
        _check_promoted(request, facts, package)
    return package


def check_probation(request: DeployRequest, facts: Facts, now: datetime) -> None:
    """Check a probation's rollback at the sources: it is active, for this version, and an alarm that asks is in ALARM.

    Raises:
        NothingToDoError: If not.
    """
    alarm, config = request.alarm, request.config
    if request.reason is not DeployReason.ROLLBACK or (alarm is None and config is None):
        return
    live, spec = live_pointer(facts.row), facts.spec
    asks = f"{config} failed golden requests" if alarm is None else f"{alarm} fired"
    if alarm is not None and (spec is None or alarm not in (spec.rollout.probation_alarms or ())):
        raise NothingToDoError(f"{alarm} is not an alarm of the endpoint's probation")
    if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
        raise NothingToDoError(f"{asks}, but no probation is active")
    if facts.serving is not None and facts.serving.config != live.config:
        raise NothingToDoError(f"{asks}, but {facts.serving.config} is live and not on probation")
    if config is not None and config != live.config:
        raise NothingToDoError(f"{asks}, but {live.config} is on probation")
    if alarm is not None and facts.alarm_states.get(alarm) != "ALARM":
        raise NothingToDoError(f"{alarm} is no longer in ALARM: it is {facts.alarm_states.get(alarm, 'gone')}")


def check_quiet(spec: ServingSpec, states: Mapping[str, str], answers: Counts | None = None) -> str:
    """Hold the alarms that roll back to what makes sense: they exist, and are not in ALARM already.

    Args:
        spec: How the endpoint is served.
        states: State of each alarm.
        answers: Of the live model in the hour before, where alarms are in ALARM. Default: not read.

    Returns:
        Which alarms are not watched and why, as the end of a reason; empty where all are.

    Raises:
        RefusedError: If not.
    """
    check_made(spec.rollout.alarms, states)
    names = ", ".join(ringing(spec.rollout.alarms, states))
    if not names:
        return ""
    said = (
        ""
        if answers is None
        else f"{answers.failed:,} of {answers.calls:,} answers of the live model failed in the hour before"
    )
    if answers is not None and unwatched(spec.rollout.alarms, states, answers):
        return f"; not watched, as in ALARM before: {names}; {said}"
    raise RefusedError(
        f"rollback alarms are already in ALARM: {names}; they would end any deployment at once. Fix what they watch, or return to "
        "the version before with mlops rollback, which watches none of them, or take them out of the policy's alarms and deploy"
        + (f"; {said}, and only where more than a tenth provably fails they are left out" if said else "")
    )


def check_made(alarms: Sequence[str], states: Mapping[str, str]) -> None:
    """Hold alarms that roll back to that they exist.

    Raises:
        RefusedError: If not.
    """
    missing = [name for name in alarms if name not in states]
    if missing:
        raise RefusedError(
            f"rollback alarms do not exist: {', '.join(missing)}; nothing would roll the deployment back"
        )


def check_quota(spec: ServingSpec, live: Sequence[Variant], quotas: Quotas | None) -> str:
    """Hold the instances that both fleets need at once to what the account may have.

    Returns:
        A sentence to add to the reason where the quotas could not be read; empty otherwise.

    Raises:
        RefusedError: If the account may not have as many.
    """
    if quotas is None:
        return ""
    problems = quota_problems(needed(spec, live), quotas)
    if problems:
        raise RefusedError("; ".join(problems))
    return f"; whether the account may have the instances could not be read ({quotas.unread})" if quotas.unread else ""


def check_variants(spec: ServingSpec, version: Version) -> None:
    """Hold the variants to those that serve, where traffic moves in steps.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Raises:
        RefusedError: If instances come or go altogether, the main variant is renamed, or others come or go in a rollout of steps.
    """
    problem = conversion_problem(spec, is_live_serverless=not version.variants[0].instance_type)
    if problem is not None:
        raise RefusedError(problem)
    wanted = (spec.variant, *(variant.name for variant in spec.variants or ()))
    if version.variant_names[0] != spec.variant:
        raise RefusedError(
            f"variant must stay {version.variant_names[0]!r} (blue/green needs the same name), got {spec.variant!r}"
        )
    if set(wanted) != set(version.variant_names) and spec.rollout.kind != "ALL_AT_ONCE":
        raise RefusedError(
            f"variants change from {', '.join(version.variant_names)} to {', '.join(wanted)}: SageMaker would shift all at once "
            f"without baking, got {spec.rollout.kind}; deploy this change with RolloutPolicy.all_at_once"
        )


def _check_promoted(request: DeployRequest, facts: Facts, package: RegisteredPackage) -> None:
    live, serving, held = live_pointer(facts.row), facts.serving, package.container_sha256
    never = f"the audit chain does not show that {package.arn} was promoted as it is ({held})"
    if facts.promotion is None and request.reason is DeployReason.ROLLBACK:
        raise RefusedError(f"{never}; a way back leads only to what was: approve it to deploy it")
    if facts.promotion is None and facts.approval:
        raise RefusedError(f"{never}, and its approval does not count: {'; '.join(facts.approval)}")
    is_live = live is not None and serving is not None and serving.config == live.config
    if request.reason is DeployReason.SPEC and live is not None and is_live and live.container_sha256 != held:
        raise RefusedError(
            f"{live.config} serves container {live.container_sha256}, {package.arn} holds {held} now; approve it"
        )


def _check_not_resting(facts: Facts, description: Mapping[str, Any]) -> None:
    if facts.frozen is not None:
        raise RefusedError(f"{facts.frozen}: no model changes; approve it again afterwards")
    if facts.rests is not None and is_automatic(description):
        raise RefusedError(f"{facts.rests}: no automatic approval is deployed; approve it by hand, or again afterwards")


def _absent(request: DeployRequest) -> str:
    if request.model_package_arn is not None and request.reason is not DeployReason.SPEC:
        return f"model package {request.model_package_arn} does not exist"
    if request.reason is DeployReason.SPEC:
        return "the model that serves comes from no model package; approve one"
    return "there is no previous version, or it was deleted"
