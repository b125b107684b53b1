"""The trip of the other units: a first model, live periods, a second model that takes over, and two bad models that do not.

With manual approval, a package waits, an approval by another user is denied, and the approver's is accepted.
"""

import time
from typing import Any

from examples.retail.loop import expect
from examples.retail.season import plant
from examples.retail.steps import Trip
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import Outcome


def travel(trip: Trip, *, count: int = 2) -> None:
    """Run the loop of a deployed unit with ingested features.

    Args:
        count: Number of live periods between the two models.
    """
    loop, replay = trip.loop, trip.replay
    _first_model(trip)
    periods = [trip.first + replay.weeks * number for number in range(count)]
    retrained = trip.seen("RetrainMachineArn")
    with trip.step(f"replay {count} {replay.period}(s) as live requests") as detail:
        for period in periods:
            report = trip.replay_period(period)
            week, states = trip.result.weeks[-1], monitor_states(report)
            detail.append(
                f"{replay.period} {period}: {replay.words.loss} {week.loss:.3f}, {replay.words.naive} {week.naive_loss:.3f}, "
                f"drift {states['drift']}, quality {states['quality']}"
            )
        _wait_for_alarm(trip, report, retrained)
    upcoming = replay.requests(periods[-1] + replay.weeks)
    with trip.step("retrain, gate it against the live model, register it") as detail:
        package = _retrained(trip, retrained)
        trip.trained(package, detail, "PendingManualApproval" if replay.is_manual else "Approved")
    with trip.step("the new model takes over in watched steps under live traffic") as detail:
        if replay.is_manual:
            loop.approve(package["ModelPackageArn"], "as good in every category that was checked")
        trip.promote(package["ModelPackageArn"], upcoming, detail)
    plant(trip, upcoming)
    trip.verify_audit()


def _first_model(trip: Trip) -> None:
    loop, refused = trip.loop, set[str]()
    with trip.step("train the first model, gate it, register it") as detail:
        package = trip.train("no model yet")
        trip.trained(package, detail, "PendingManualApproval" if trip.replay.is_manual else "Approved")
    if trip.replay.is_manual:
        with trip.step("an approval by a user without permission is refused") as detail:
            loop.sagemaker.update_model_package(
                ModelPackageArn=package["ModelPackageArn"],
                ModelApprovalStatus="Approved",
                ApprovalDescription="ship it",
            )
            record = trip.deployed(package["ModelPackageArn"], Outcome.REFUSED)
            expect(loop.live() is None, "it serves nevertheless")
            detail.append(record.reason)
        refused = {record.execution}
        loop.approve(package["ModelPackageArn"], "checked by category and by household")
    with trip.step("the approval creates the endpoint") as detail:
        trip.deployed(package["ModelPackageArn"], Outcome.PROMOTED, seen=refused)
        detail.append(f"version {trip.live_version()} serves from {loop.serving_config()}")


def _wait_for_alarm(trip: Trip, report: MonitorReport, seen: set[str]) -> None:
    """If the last report has a violation, wait for its alarm to start a retraining."""
    deadline = time.monotonic() + 10
    states = monitor_states(report)
    while MonitorState.VIOLATION in (states["drift"], states["quality"]) and time.monotonic() < deadline:
        if trip.seen("RetrainMachineArn") - seen:
            return
        time.sleep(0.2)


def _retrained(trip: Trip, seen: set[str]) -> dict[str, Any]:
    """Return the package of a retraining started by an alarm since then, else of a requested one."""
    if trip.seen("RetrainMachineArn") - seen:
        return trip.loop.package_of(trip.loop.wait_execution("RetrainMachineArn", seen, appear=5, finish=120))
    return trip.train("more is known")
