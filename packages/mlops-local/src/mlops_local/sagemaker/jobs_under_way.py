"""Jobs that a jump of the clock waits for: what they publish is then of the time at which they were started.

A monitor's job that ended only after the jump would publish metrics of a time that no alarm reads any more, and a machine
would find that its job has taken days.
"""

import logging
import time
from collections.abc import Iterator

from mlops_local import clock
from mlops_local.functions import functions
from mlops_local.sagemaker import monitoring_schedules, resource_store

LOGGER = logging.getLogger(__name__)

# longest real seconds that one due time of a jump waits, below what callers of a jump wait for its answer
_LIMIT = 300.0
# real seconds without a job after which a machine has none to start
_QUIET = 1.0
_LOOK = 0.05
_KINDS = ("ProcessingJob", "TrainingJob", "TransformJob")
# a job that has lost its spot capacity waits for embedded time
_WAITING = "Interrupted"


def _running() -> Iterator[str]:
    for kind in _KINDS:
        for record in resource_store.all_records(kind):
            if record[f"{kind}Status"] in ("InProgress", "Stopping") and record.get("SecondaryStatus") != _WAITING:
                yield str(record[f"{kind}Name"])

    for record in resource_store.all_records("MonitoringExecution"):  # its job follows
        if record["MonitoringExecutionStatus"] in monitoring_schedules.PENDING:
            yield str(record["MonitoringScheduleName"])


def settle() -> None:
    """Block until the jobs that run have ended, with the functions that their events call and later jobs, up to a limit."""
    names = list(_running())
    if not names:
        return
    deadline = time.monotonic() + _LIMIT
    quiet = time.monotonic() + _QUIET
    while time.monotonic() < quiet:
        time.sleep(_LOOK)
        running = list(_running())
        names = running or names
        if running or functions.busy():
            quiet = time.monotonic() + _QUIET
        if time.monotonic() > deadline:
            LOGGER.warning(
                "jobs (%s) still run after %.0f s at %s; the clock goes on", ", ".join(names), _LIMIT, clock.iso()
            )
            return
