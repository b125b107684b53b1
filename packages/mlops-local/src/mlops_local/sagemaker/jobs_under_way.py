"""Jobs that a clock jump waits for, so that their metrics get the time at which they were started.

Otherwise a monitoring job that ends after the jump would publish metrics for a time that no alarm evaluates any more, and a
state machine would find that its job took days.
"""

import logging
import time
from collections.abc import Iterator

from mlops_local import clock
from mlops_local.functions import functions
from mlops_local.sagemaker import monitoring_schedules, resource_store

LOGGER = logging.getLogger(__name__)

# longest wait of one due time of a jump, in real seconds; shorter than callers' timeout of a jump
_LIMIT = 300.0
# real seconds without a job after which no state machine is expected to start another
_QUIET = 1.0
_LOOK = 0.05
_KINDS = ("ProcessingJob", "TrainingJob", "TransformJob")
# a job without spot capacity waits for embedded time
_WAITING = "Interrupted"


def _running() -> Iterator[str]:
    for kind in _KINDS:
        for record in resource_store.all_records(kind):
            if record[f"{kind}Status"] in ("InProgress", "Stopping") and record.get("SecondaryStatus") != _WAITING:
                yield str(record[f"{kind}Name"])

    for record in resource_store.all_records("MonitoringExecution"):  # its job starts later
        if record["MonitoringExecutionStatus"] in monitoring_schedules.PENDING:
            yield str(record["MonitoringScheduleName"])


def settle() -> None:
    """Block until running jobs, the functions that their events invoke and subsequent jobs have ended, up to a limit."""
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
                "jobs (%s) still run after %.0f s at %s; the clock continues", ", ".join(names), _LIMIT, clock.iso()
            )
            return
