"""Plan of a recovery for the resources of a dead execution: adopt them on evidence, roll back, or remove them.

SageMaker continues the update of a dead execution, and may end with a live candidate that was not evaluated. Its alarms still exist
and its calls are counted, so the recovery evaluates it as the execution would have. If it cannot, it rolls back to the version that
is recorded as live. See docs/adr/0012-recovery.md.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, DiedExecution, LivePointer, ServingSpec
from mlops_runtime.registry.model_package import PackageError
from mlops_runtime.rollout.deploy_plan import (
    Facts,
    RefusedError,
    SageMakerPlan,
    live_pointer,
    look_seconds,
    poll_seconds,
)
from mlops_runtime.rollout.evidence_requests import VerdictRequest, bodies_request, sagemaker_verdict
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.fleet_alarms import fleet_stem
from mlops_runtime.rollout.fleet_capacity import Scaling, no_scaling, render_scaling
from mlops_runtime.rollout.live_fleet import Version
from mlops_runtime.rollout.permission import approved, desired
from mlops_runtime.rollout.probation_alarm import alarm_request
from mlops_runtime.rollout.probation_share import endpoint_share
from mlops_runtime.rollout.rehearsed_answers import golden_repeat
from mlops_runtime.rollout.rollout_case import Case, pointer
from mlops_runtime.rollout.sagemaker_requests import planned_scaling, render_revert

# upper bound of the time between storing a spec and making it the desired one
_STORING = timedelta(minutes=1)
_REASONS = frozenset(reason.value for reason in DeployReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """A live candidate that is not recorded, and the version recorded as live, if it still exists."""

    died: DiedExecution
    facts: Facts
    spec: ServingSpec
    version: Version
    live: LivePointer | None
    back: Version | None

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the alarms of its fleet that still exist."""
        stem = fleet_stem(self.spec.endpoint, self.version.config)
        return tuple(name for name in self.facts.leftovers.alarms if name.startswith(stem))

    @property
    def reason(self) -> DeployReason:
        """Why it was deployed; if unknown, an approval, which requires the most evidence."""
        return DeployReason(self.died.reason) if self.died.reason in _REASONS else DeployReason.APPROVAL


def recovered(blank: SageMakerPlan, request: DeployRequest, facts: Facts, now: datetime) -> SageMakerPlan | None:
    """Return the plan for a candidate that a dead execution left serving; None without such a candidate.

    Raises:
        RefusedError: If the live version may not stay, and no earlier version is recorded.
        PackageError: If its package cannot be read, and no earlier version is recorded.
        SpecError: If the desired spec is invalid.
    """
    left = _left(request, facts)
    if left is None:
        return None
    blank = replace(blank, candidate_package=left.version.package)
    try:
        package = approved(request, facts)
    except (RefusedError, PackageError) as refused:
        if left.back is None:
            raise
        return _revert(blank, left, left.back, str(refused))
    if left.back is not None and _is_guarded(left) and not left.alarms:
        return _revert(blank, left, left.back, "the alarms of the new fleet were deleted, so its health is unknown")
    blank = replace(blank, container_sha256=package.container_sha256)
    was = replace(request, reason=left.reason)
    case = Case(request=was, facts=facts, spec=left.spec, package=package, execution=left.died.execution, now=now)
    return _adopt(blank, left, case)


def resumed_scaling(request: DeployRequest, facts: Facts) -> Scaling:
    """Return the scaling requests of a plan without other changes: an execution may have died after it removed the scaling."""
    if request.died is None or facts.spec is None or facts.serving is None or facts.spec.scaling is None:
        return no_scaling()
    return render_scaling(facts.spec) | {"deregister": [], "alarm_names": []}


def discarded(blank: SageMakerPlan, facts: Facts) -> SageMakerPlan:
    """Return the plan that deletes a first endpoint which failed, as after any first model that fails."""
    failure = "" if facts.serving is None else facts.serving.failure
    reason = "the first endpoint failed and is deleted" + (f": {failure}" if failure else "")
    return replace(blank, action="discard", reason=reason, leftovers=facts.leftovers)


def _left(request: DeployRequest, facts: Facts) -> _Left | None:
    died, serving, live = request.died, facts.serving, live_pointer(facts.row)
    if died is None or facts.slots is not None or serving is None or serving.version is None:
        return None
    name = version_name(facts.row.endpoint, died.execution)
    if serving.config != name or (live is not None and live.config == name):
        return None
    back = None if live is None else facts.versions.get(live.config)
    return _Left(died=died, facts=facts, spec=desired(facts), version=serving.version, live=live, back=back)


def _is_guarded(left: _Left) -> bool:
    """Whether alarms watched the update: not for a serverless endpoint, nor for a rollback."""
    return left.spec.serverless is None and left.reason is not DeployReason.ROLLBACK


def _common(blank: SageMakerPlan, left: _Left) -> SageMakerPlan:
    spec = left.spec
    back = left.back
    return replace(
        blank,
        variant=spec.variant,
        started=left.died.started,
        config_name=left.version.config,
        model_name=left.version.model,
        previous_config=None if back is None else back.config,
        revert_endpoint=None if back is None else render_revert(spec, config=back.config, live=back.variants),
        poll_seconds=poll_seconds(spec.rollout.maximum),
        look_seconds=look_seconds(spec.rollout.maximum),
        scaling=planned_scaling(spec, left.facts),
    )


def _revert(blank: SageMakerPlan, left: _Left, back: Version, why: str) -> SageMakerPlan:
    return replace(_common(blank, left), action="revert", reason=f"back to {back.config}: {why}")


def _adopt(blank: SageMakerPlan, left: _Left, case: Case) -> SageMakerPlan:
    rollout, is_judged = left.spec.rollout, left.back is not None and left.reason is not DeployReason.ROLLBACK
    is_new = left.reason is DeployReason.APPROVAL
    has_probation = is_new and bool(rollout.probation)
    back = None if left.back is None else left.back.config
    # the candidate is live, but the pointer is still the previous model's
    since = None if left.live is None else left.live.since
    share = endpoint_share(left.spec, previous=back, since=left.died.started, serves_since=since)
    return replace(
        _common(blank, left),
        action="adopt",
        reason=f"{left.version.config} took over" + ("" if is_judged else "; no evidence is left to evaluate it"),
        watched=(*left.alarms, *rollout.alarms) if is_judged else (),
        min_invocations=rollout.min_invocations if is_judged and is_new else 0,
        probation=(rollout.probation or 0) if is_new else 0,
        probation_alarm=alarm_request(left.spec, left.died.execution, share.before) if has_probation else None,
        probation_share=share if has_probation else None,
        verdict=_verdict(left) if is_judged else None,
        bodies=bodies_request(left.spec, since=left.died.started) if is_judged else None,
        again=golden_repeat(left.spec, left.version.config) if is_judged and is_new else None,
        expired=tuple(config for config in case.follows.expired if config != left.version.config),
        live=_pointer(left, case),
    )


def _verdict(left: _Left) -> VerdictRequest | None:
    if left.back is None or left.spec.serverless is not None:
        return None
    return sagemaker_verdict(left.spec, config=left.version.config, previous=left.back.config, since=left.died.started)


def _pointer(left: _Left, case: Case) -> LivePointer:
    """Return the pointer to the candidate; its spec is known only if it was stored before the execution started."""
    made, stored = pointer(case), left.facts.spec_stored
    if stored is not None and stored + _STORING < datetime.fromisoformat(left.died.started):
        return made
    return replace(made, spec_sha256="", spec_uri="")
