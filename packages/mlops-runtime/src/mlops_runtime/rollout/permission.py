"""Preconditions of a rollout: settled endpoint, no freeze, valid approval, active probation, alarms not in ALARM."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, ServingSpec
from mlops_runtime.registry.model_package import RegisteredPackage, read_package
from mlops_runtime.registry.package_approval import is_automatic
from mlops_runtime.rollout.deploy_plan import BusyError, Facts, NothingToDoError, RefusedError, live_pointer
from mlops_runtime.rollout.fleet_capacity import conversion_problem
from mlops_runtime.rollout.instance_quota import Quotas, needed, quota_problems
from mlops_runtime.rollout.live_failures import firing, unwatched
from mlops_runtime.rollout.live_fleet import Serving, Variant, Version
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.serving_limits import check_spec

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: transient statuses
_UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


def desired(facts: Facts) -> ServingSpec:
    """Return the desired spec.

    Raises:
        RefusedError: If it is missing.
        SpecError: If it is invalid.
    """
    if facts.spec is None:
        raise RefusedError("no serving spec is stored yet; deploy the stack, then approve the package again")
    return check_spec(facts.spec)


def settled(serving: Serving | None, *, never_served: bool = False) -> Serving | None:
    """Return the live version, after checking that the endpoint is not changing.

    Args:
        serving: The live version.
        never_served: Whether it is a first endpoint, created by a rollout, that failed. Default: False.

    Raises:
        BusyError: If the endpoint is changing.
        RefusedError: If it cannot be updated.
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
        fix = "it serves a mix of old and new versions; check its events and update it by hand"
    raise RefusedError(
        f"the endpoint is {serving.status}: {fix}" + (f" ({serving.failure})" if serving.failure else "")
    )


def approved(request: DeployRequest, facts: Facts) -> RegisteredPackage:
    """Return the requested package if it may be deployed.

    The archive of a signed package must match its signature, and the registry must still allow loading the model, since an endpoint
    need not be isolated where pickles are forbidden. The other conditions depend on the request:

    - An approval counts only if an approver gave it in time for the package's current content, and if the model accepts the
      requests that APIs of the endpoint allow.
    - A rollback only deploys containers that the audit chain shows as promoted; later changes of the approval rule do not block it.
    - A spec change deploys the version of the live pointer again, by its hash; a live version that was never promoted needs a
      valid approval.

    Raises:
        RefusedError: If it does not exist, belongs to another group, or is not approved.
        PackageError: If it cannot be deployed safely.
    """
    if facts.package is None:
        raise RefusedError(_absent(request))
    package = read_package(facts.package)
    if package.spec.group != facts.group:
        raise RefusedError(f"model package {package.arn} belongs to group {package.spec.group!r}, not {facts.group!r}")
    if facts.signature:
        raise RefusedError(f"the archive of {package.arn} does not match its signature: {'; '.join(facts.signature)}")
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
            raise RefusedError(f"{package.arn} breaks a promise of an API: {'; '.join(facts.promises)}")
        _check_not_resting(facts, facts.package)
    else:
        _check_promoted(request, facts, package)
    return package


def check_probation(request: DeployRequest, facts: Facts, now: datetime) -> None:
    """Check a probation's rollback at its sources: probation is active for the live version, and a requesting alarm is in ALARM.

    Raises:
        NothingToDoError: If a condition does not hold.
    """
    alarm, config = request.alarm, request.config
    if request.reason is not DeployReason.ROLLBACK or (alarm is None and config is None):
        return
    live, spec = live_pointer(facts.row), facts.spec
    cause = f"{config} failed golden requests" if alarm is None else f"{alarm} fired"
    if alarm is not None and (spec is None or alarm not in (spec.rollout.probation_alarms or ())):
        raise NothingToDoError(f"{alarm} is not an alarm of the endpoint's probation")
    if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
        raise NothingToDoError(f"{cause}, but no probation is active")
    if facts.serving is not None and facts.serving.config != live.config:
        raise NothingToDoError(f"{cause}, but {facts.serving.config} is live and not on probation")
    if config is not None and config != live.config:
        raise NothingToDoError(f"{cause}, but {live.config} is on probation")
    if alarm is not None and facts.alarm_states.get(alarm) != "ALARM":
        raise NothingToDoError(f"{alarm} is no longer in ALARM: it is {facts.alarm_states.get(alarm, 'deleted')}")


def check_quiet(spec: ServingSpec, states: Mapping[str, str], answers: Counts | None = None) -> str:
    """Check that the rollback alarms exist and are not already in ALARM.

    Args:
        spec: The endpoint's serving spec.
        states: State of each alarm.
        answers: Responses of the live model in the hour before, if alarms are in ALARM. Default: not read.

    Returns:
        The alarms that are not watched and why, as the end of a reason; empty if all are watched.

    Raises:
        RefusedError: If an alarm is missing, or is in ALARM although the live model does not fail significantly.
    """
    check_made(spec.rollout.alarms, states)
    names = ", ".join(firing(spec.rollout.alarms, states))
    if not names:
        return ""
    message = (
        ""
        if answers is None
        else f"{answers.failed:,} of {answers.calls:,} answers of the live model failed in the hour before"
    )
    if answers is not None and unwatched(spec.rollout.alarms, states, answers):
        return f"; not watched because already in ALARM: {names}; {message}"
    raise RefusedError(
        f"rollback alarms are already in ALARM: {names}; they would end any deployment at once. Fix their cause, return to the "
        "previous version with mlops rollback, which does not watch them, or remove them from the policy's alarms and deploy"
        + (f"; {message}, and they are ignored only if significantly more than a tenth fails" if message else "")
    )


def check_made(alarms: Sequence[str], states: Mapping[str, str]) -> None:
    """Check that the rollback alarms exist.

    Raises:
        RefusedError: If one is missing.
    """
    missing = [name for name in alarms if name not in states]
    if missing:
        raise RefusedError(
            f"rollback alarms do not exist: {', '.join(missing)}; nothing would roll the deployment back"
        )


def check_quota(spec: ServingSpec, live: Sequence[Variant], quotas: Quotas | None) -> str:
    """Check the instances that both fleets need at once against the account's quotas.

    Returns:
        A sentence to add to the reason if the quotas could not be read; empty otherwise.

    Raises:
        RefusedError: If a quota is too small.
    """
    if quotas is None:
        return ""
    problems = quota_problems(needed(spec, live), quotas)
    if problems:
        raise RefusedError("; ".join(problems))
    return f"; the account's instance quotas could not be read ({quotas.unread})" if quotas.unread else ""


def check_variants(spec: ServingSpec, version: Version) -> None:
    """Check that the spec's variants match the live ones if traffic moves in steps.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html

    Raises:
        RefusedError: If the endpoint would change between instances and serverless, if the main variant is renamed, or if variants
            are added or removed in a rollout of steps.
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
        raise RefusedError(f"{never}; a rollback only deploys promoted containers, so approve it to deploy it")
    if facts.promotion is None and facts.approval:
        raise RefusedError(f"{never}, and its approval does not count: {'; '.join(facts.approval)}")
    is_live = live is not None and serving is not None and serving.config == live.config
    if request.reason is DeployReason.SPEC and live is not None and is_live and live.container_sha256 != held:
        raise RefusedError(
            f"{live.config} serves container {live.container_sha256}, but {package.arn} now has {held}; approve it"
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
        return "the live model was not created from a model package; approve one"
    return "there is no previous version, or it was deleted"
