"""State of a model, as a word and a sentence."""

from enum import StrEnum

from mlops_runtime.business_unit.unit_overview import DELETED, NOT_YET_DEPLOYED, EndpointOverview, MonitorOverview
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.registry.registry_overview import RegistryOverview
from mlops_runtime.rollout.rollout_words import doing

_BROKEN = ("Failed", "UpdateRollbackFailed")
_BLIND = (MonitorState.MONITOR_NOT_RUN, MonitorState.NO_CAPTURE, MonitorState.BASELINE_OLDER_THAN_MODEL)


class ModelState(StrEnum):
    """State of a model; if several apply, the worst, which is the first in this order."""

    DELETED = "deleted"
    BROKEN = "broken"
    VIOLATED = "limits violated"
    ROLLED_BACK = "rolled back"
    NOT_MONITORED = "not monitored"
    WAITING = "waits for an approval"
    ROLLING_OUT = "rollout runs"
    PROBATION = "on probation"
    UNKNOWN = "not known yet"
    SERVES = "serves"
    APPROVED = "approved"
    RELEASED = "released"
    NOT_YET_DEPLOYED = "not deployed"
    NOT_YET_APPROVED = "not approved"


ORDER = tuple(ModelState)


def state_of(found: EndpointOverview) -> tuple[ModelState, str]:
    """Return the state of a model, and the reason in a sentence, from its monitor or audit record if possible."""
    monitor, last, live = found.monitor, found.rollout, found.live
    if monitor is not None and live is not None and monitor.window_until and monitor.window_until <= live.since:
        # the report is about the previous version, possibly one that was rolled back because of it
        message = f"no monitor window has ended since version {live.model_package_arn.rpartition('/')[2]} went live"
        monitor = MonitorOverview(states={}, verdict=message)
    states = set() if monitor is None else set(monitor.states.values())
    if found.state == DELETED:
        return (
            ModelState.DELETED,
            "its endpoint was deleted outside of the platform: deploy its stack again, or approve a package again",
        )
    if found.state in _BROKEN:
        return ModelState.BROKEN, f"SageMaker reports that its endpoint is {found.state}; see its rollout and its log"
    if found.state == NOT_YET_DEPLOYED and not found.waiting and not found.running:
        return ModelState.NOT_YET_DEPLOYED, "no model serves yet: the first approval deploys one"
    if MonitorState.VIOLATION.value in states and monitor is not None:
        return ModelState.VIOLATED, monitor.verdict or "a monitor's limit is violated"
    if last is not None and last.outcome in (Outcome.ROLLED_BACK, Outcome.FAILED):
        return ModelState.ROLLED_BACK, f"record {last.sequence}: {last.outcome.value}: {last.reason}"
    if monitor is not None and monitor.unread:
        return ModelState.NOT_MONITORED, f"its monitor's report is not shown: {monitor.unread}"
    if states & {state.value for state in _BLIND} and monitor is not None:
        return ModelState.NOT_MONITORED, monitor.verdict or "its monitor could not decide"
    if found.waiting:
        return ModelState.WAITING, f"{_versions(found.waiting)} waits for an approval"
    if found.running:
        return ModelState.ROLLING_OUT, "a rollout is running" if found.progress is None else doing(found.progress)
    if found.probation_until is not None:
        return ModelState.PROBATION, f"it is monitored until {found.probation_until} and rolled back automatically"
    return _watched(found, monitor)


def state_of_registry(found: RegistryOverview) -> tuple[ModelState, str]:
    """Return the state of a registry's model without an endpoint, and the reason in a sentence.

    Example:
        >>> state_of_registry(RegistryOverview(group="demand-forecast", is_releasing=True))[0].value
        'not approved'
    """
    approved, released = found.approved, found.released
    if found.waiting:
        return ModelState.WAITING, f"{_versions(found.waiting)} waits for an approval"
    if released is not None and approved is not None and approved.version != released.version:
        return ModelState.APPROVED, f"{approved.version} is approved but not released; {released.version} is released"
    if released is not None:
        return ModelState.RELEASED, f"{released.version} is released: other environments may take it"
    if approved is not None and found.is_releasing and not found.unread:
        return (
            ModelState.APPROVED,
            f"{approved.version} is approved but not released; see: mlops promotions {found.group}",
        )
    if approved is not None:
        return ModelState.APPROVED, f"{approved.version} is approved; its unit has no endpoint for it here"
    return ModelState.NOT_YET_APPROVED, "no version is approved yet"


def _watched(found: EndpointOverview, monitor: MonitorOverview | None) -> tuple[ModelState, str]:
    """Return the state of a model according to its monitor."""
    if monitor is None and not found.is_monitored:
        return ModelState.NOT_MONITORED, "no monitor is deployed for it: define a ModelMonitor in its stack"
    if monitor is None:
        return ModelState.UNKNOWN, "no monitor has decided on this model yet"
    if MonitorState.OK.value not in monitor.states.values():
        return ModelState.UNKNOWN, monitor.verdict or "its monitors have nothing to decide on yet"
    return ModelState.SERVES, monitor.verdict or ""


def _versions(packages: tuple[str, ...]) -> str:
    return ", ".join(map(version_of, packages))
