"""The trip of demand forecasting: weeks are replayed until the season's change raises an alarm, which retrains and promotes."""

import time
from pathlib import Path

from examples.retail.loop import LoopError
from examples.retail.planted import register_bad_package
from examples.retail.steps import Trip
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import monitor_states
from mlops_runtime.contracts.rollout import Outcome

LAST_WEEK = 52


def travel(trip: Trip) -> None:
    """Run the loop of a deployed unit with ingested features."""
    loop = trip.loop
    with trip.step("train the first model, gate it, register it, approve it") as detail:
        package = trip.train("no model yet")
        trip.trained(package, detail)
    with trip.step("the approval creates the endpoint") as detail:
        trip.deployed(package["ModelPackageArn"], Outcome.PROMOTED)
        detail.append(f"version {trip.live_version()} serves from {loop.serving_config()}")

    trained = trip.seen("RetrainMachineArn")
    week = _replay_until_alarm(trip, trained)
    with trip.step("the alarm retrains through the guard") as detail:
        package = loop.package_of(loop.wait_execution("RetrainMachineArn", trained, appear=5, finish=120))
        trip.trained(package, detail)
    with trip.step("the canary promotes the new model under live traffic") as detail:
        trip.promote(package["ModelPackageArn"], trip.replay.requests(week + 1), detail)
    with trip.step("replay two more weeks on the new model") as detail:
        for later in (week + 1, week + 2):
            states = monitor_states(trip.replay_period(later))
            detail.append(f"week {later}: drift {states['drift']}, quality {states['quality']}")

    plant(trip, trip.replay.requests(week + 3))
    trip.verify_audit()


def plant(trip: Trip, requests: list[dict[str, object]]) -> None:
    """Approve two bad models by hand: one that the rehearsal detects, and one that only real traffic does.

    Args:
        requests: The live traffic.
    """

    def release(script: Path, reason: str) -> str:
        package = register_bad_package(trip.loop, trip.live(), script)
        trip.loop.approve(package, reason)
        return package

    refused, bad = trip.replay.refused_script, trip.replay.bad_script
    if refused is not None:
        with trip.step("a bad model is approved by hand, and rejected by golden requests") as detail:
            trip.turn_down(lambda: release(refused, "looks good, easy to explain"), detail)
    with trip.step(
        "another bad model, detected only by real traffic, is approved and rolled back while the old one serves"
    ) as detail:
        trip.roll_back(requests, lambda: release(bad, "the same, and faster"), detail)


def _replay_until_alarm(trip: Trip, seen: set[str]) -> int:
    """Replay weeks as live requests until the loop starts a retraining, and return the last replayed week."""
    with trip.step("replay weeks as live requests until the season's change raises an alarm") as detail:
        for week in range(trip.first, LAST_WEEK + 1):
            report = trip.replay_period(week)
            states = monitor_states(report)
            if MonitorState.VIOLATION in (states["drift"], states["quality"]):
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    if trip.seen("RetrainMachineArn") - seen:
                        drifted = [f.name for f in report.drift.features if f.drifted]
                        detail.append(f"week {week}: drift {states['drift']}, quality {states['quality']}")
                        values = {} if report.quality is None else dict(report.quality.values)
                        detail.append(f"drifted {', '.join(drifted)}" if drifted else f"quality {values}")
                        alarms = [name for name, state in trip.loop.alarms().items() if state == "ALARM"]
                        detail.append(f"alarms {', '.join(alarms)}")
                        return week
                    time.sleep(0.2)
        raise LoopError(f"no alarm led to a retraining by week {LAST_WEEK}")
