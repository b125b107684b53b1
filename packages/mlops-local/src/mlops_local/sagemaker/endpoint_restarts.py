"""Restart of endpoints with the embedded cloud: their servers start again from saved state.

An endpoint that was being created becomes ``Failed``; one that was being updated is in service with its previous fleet; one that
was being deleted is removed. The cloud serves requests before that: requests for an endpoint wait until its servers have started.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from ministack.core.responses import set_request_account_id, set_request_region

from mlops_local.sagemaker import endpoints, fleets, resource_store
from mlops_local.sagemaker.api_shapes import Record, ServiceError
from mlops_local.sagemaker.endpoints import Live
from mlops_local.sagemaker.fleets import FleetError
from mlops_local.saved_state import kept_stores

STOPPED = "The embedded cloud was stopped."
# number of servers that start concurrently
_AT_ONCE = 4
# longest wait of a request for its endpoint's servers, in real seconds; the same as the timeout of a call
_PATIENCE = 60.0
_STARTED = threading.Condition()
# saved state of each endpoint whose servers have not been started yet
_SAVED: dict[str, Record] = kept_stores.leave(__name__, "_SAVED", {}, why="endpoints that start again")
# saved state of endpoints whose servers could not start on this machine; the next start tries again
_WAITING: dict[str, Record] = kept_stores.leave(__name__, "_WAITING", {}, why="endpoints that start again")
# endpoints whose change the stop interrupted
_ENDED: list[str] = kept_stores.leave(__name__, "_ENDED", [], why="changes that this start has ended")


def _save() -> dict[str, Record]:
    live = {arn: _saved(state) for arn, state in endpoints.everything().items()}
    waiting = {arn: record for arn, record in _WAITING.items() if arn in live and _is_same(live[arn], record)}
    return live | waiting | dict(_SAVED)


def _is_same(live: Record, waiting: Record) -> bool:
    """Return whether a live endpoint is the one that did not start, not created or updated since."""
    return live["fleet"] is None and live["seed"] == waiting["seed"]


def _saved(state: Live) -> Record:
    fleet = None if state.fleet is None else fleets.saved(state.fleet)
    if fleet is not None and state.deployment is not None:
        for name, count in state.deployment.before.items():
            fleet["servers"][name]["instances"] = count
    generator = state.generator.getstate()
    return {"seed": state.seed, "compared": state.compared, "generator": generator, "fleet": fleet}


def _restart() -> list[str]:
    """Start the servers of every endpoint; return the failures."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        started = [pool.submit(copy_context().run, _start, arn, record) for arn, record in list(_SAVED.items())]
        return [problem for future in started if (problem := future.result()) is not None]


def _start(arn: str, saved: Record) -> str | None:
    _, _, _, region, account, _ = arn.split(":", 5)
    set_request_account_id(account)
    set_request_region(region)
    record = next(row for row in resource_store.store().records["Endpoint"].values() if row["EndpointArn"] == arn)
    status = record["EndpointStatus"]
    _ENDED.extend(_named(record))
    state = Live(seed=saved["seed"], compared=saved["compared"])
    state.generator.setstate(saved["generator"])
    endpoints.revive(arn, state)
    try:
        if status == "Deleting":
            endpoints.forget(record)
            return None
        problem = _serve(record, state, saved)
        if status != record["EndpointStatus"]:
            endpoints.announce(record)
        return problem
    finally:
        with _STARTED:
            _SAVED.pop(arn, None)
            _STARTED.notify_all()


def wait(name: str) -> None:
    """Wait until the servers of an endpoint have been restarted."""
    record = resource_store.store().records["Endpoint"].get(name)
    if record is not None:
        with _STARTED:
            _STARTED.wait_for(lambda: record["EndpointArn"] not in _SAVED, _PATIENCE)


def _serve(record: Record, state: Live, saved: Record) -> str | None:
    """Start an endpoint's servers, and set the outcome in its record; return the error, if any."""
    # claim: interrupted-endpoint-has-a-final-status
    if saved["fleet"] is None:
        if record["EndpointStatus"] == "Creating":
            resource_store.update(record, EndpointStatus="Failed", FailureReason=STOPPED)
        return None
    try:
        state.fleet = fleets.start_again(record["EndpointName"], saved["fleet"], state.stop)
    except (FleetError, ServiceError) as error:
        resource_store.update(record, EndpointStatus="Failed", FailureReason=str(error))
        return f"endpoint {record['EndpointName']}: {error}"
    except OSError as error:  # an error of this machine: memory, disk or files may be available next time
        is_awaited = bool(saved.get("is_awaited")) or record["EndpointStatus"] != "Failed"
        _WAITING[record["EndpointArn"]] = {**saved, "is_awaited": is_awaited}
        reason = f"its servers cannot start: {error}; the next start of the embedded cloud tries again"
        resource_store.update(record, EndpointStatus="Failed", FailureReason=reason)
        return f"endpoint {record['EndpointName']}: {reason}"
    if saved.get("is_awaited"):
        resource_store.update(record, EndpointStatus="InService", FailureReason=None)
    elif record["EndpointStatus"] not in ("InService", "Failed"):
        resource_store.update(record, EndpointStatus="InService")
    return None


def under_way() -> Iterator[str]:
    """Yield the endpoints with a change in progress."""
    for record in resource_store.all_records("Endpoint"):
        yield from _named(record)


def ended() -> list[str]:
    """Return the endpoints whose change was interrupted by the last stop."""
    return list(_ENDED)


def _named(record: Record) -> Iterator[str]:
    if record["EndpointStatus"] not in ("InService", "Failed", "OutOfService"):
        yield f"endpoint {record['EndpointName']} ({record['EndpointStatus']})"


def install() -> None:
    """Save and restore the fleets of endpoints."""
    kept_stores.keep_by(
        "sagemaker.endpoints",
        "_LIVE",
        save=_save,
        restore=lambda saved: kept_stores.refill(_SAVED, saved),
        restart=_restart,
    )
