"""The demo: the whole loop on real retail transactions, asserted step by step, on the embedded cloud.

The unit's template, IAM and state machines are those for AWS. The clock of the embedded cloud starts in 2017, runs at sixty times
real time, and jumps from week to week.
"""

import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from examples.retail import release, season
from examples.retail.customer_behavior.replay import REPLAY as CUSTOMER_BEHAVIOR
from examples.retail.demand_forecasting.replay import REPLAY as DEMAND_FORECASTING
from examples.retail.dynamic_pricing.replay import REPLAY as DYNAMIC_PRICING
from examples.retail.page import files_folder, write_page
from examples.retail.steps import CLOCK_SCALE, Missed, Result, Trip, silent

UNITS = {
    "demand_forecasting": (DEMAND_FORECASTING, season.travel),
    "customer_behavior": (CUSTOMER_BEHAVIOR, release.travel),
    "dynamic_pricing": (DYNAMIC_PRICING, release.travel),
}


def run(
    *,
    page: Path,
    echo: Callable[[str], None],
    begin: Callable[[str], None] = silent,
    unit: str = "demand_forecasting",
    keep: Path | None = None,
) -> Result:
    """Run a unit's loop once and write the page.

    Args:
        page: File for the page.
        echo: Called with one line at the end of each step.
        begin: Called with a step's name at its start. Default: no call.
        keep: Folder of an embedded cloud that is left running. Default: the cloud is stopped.

    Raises:
        ValueError: If the unit is unknown.
    """
    if unit not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {unit!r}")
    replay, travel = UNITS[unit]
    trip = Trip(replay, echo, begin=begin)
    started, ended = time.monotonic(), False
    with tempfile.TemporaryDirectory(prefix="mlops-demo-") as folder:
        work = Path(folder) if keep is None else keep
        try:
            trip.start(work / "cloud" if keep is None else keep)
            trip.deploy(work)
            trip.ingest()
            travel(trip)
            trip.write_files(files_folder(page))
            ended = True
        except Missed:
            trip.keep_evidence(page.with_suffix(".evidence"))
            ended = True
        finally:
            if keep is None or not ended:  # also stops the cloud after an interruption
                trip.stop()
    result = trip.result
    result.seconds = time.monotonic() - started
    missed = next((row.name for row in result.rows if not row.ok), None)
    verdict = "Every step did what it should." if missed is None else f"Stopped at: {missed}."
    seconds = result.as_json()
    note = (
        f"{seconds['seconds']:.0f} s in all, {seconds['platform_seconds']:.0f} s of the platform without training and bakes. "
        "Real transactions of 457 grocery stores over 2017 (completejourney). The embedded cloud ran the template that goes to AWS."
    )
    write_page(page, words=replay.words, ok=result.ok, verdict=verdict, note=note, rows=result.rows, weeks=result.weeks)
    echo(f"{'ok' if result.ok else 'MISSED'}: {note}")
    echo(f"page: {page}")
    if keep is not None and hasattr(trip, "running"):
        result.home = keep
        _print_next_commands(trip, keep, echo)
    return result


def _print_next_commands(trip: Trip, home: Path, echo: Callable[[str], None]) -> None:
    where = f"--home {shlex.quote(str(home))}"
    now = f"{trip.now():%Y-%m-%d %H:%M}"
    echo(
        f"kept: the embedded cloud at {trip.running.endpoint_url}; its clock shows {now} UTC and runs {CLOCK_SCALE:.0f} times"
    )
    echo(f"as fast, so that a week, until its monitor decides again, takes {7 * 24 / CLOCK_SCALE:.1f} hours")
    echo(
        f"look: mlops status {where}; mlops monitor report {where}; mlops models list {where}; mlops console --open {where}"
    )
    echo(f"end:  mlops local down {where}")
