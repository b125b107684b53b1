"""``python -m mlops_runtime.jobs.monitor``: count a window's capture objects, explain a sample of them, and decide.

One job replaces the two functions of the Lambda engine. The counts are identical bit for bit and are written to the same keys,
and the decision is the same code, so an endpoint may switch between engines. Existing counts are reused: a run continues where a
failed one stopped. The time is an argument, taken from the schedule's event.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import boto3

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import ExplainabilityResult, MonitorReport, MonitorResult
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.jobs.monitor_count import CountSettings, count_objects
from mlops_runtime.jobs.monitor_explain import explain
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.scheduled_run import DecideSettings, decide_window
from mlops_runtime.monitor.store import BaselineIntegrityError, MonitorStore
from mlops_runtime.monitor.window import Window
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client

_log = logging.getLogger("mlops.monitor")
# counts objects, given their sizes and the settings; returns the errors by key
Count = Callable[[Mapping[str, int], CountSettings], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """AWS clients of the job."""

    s3: "S3Client"
    dynamodb: "DynamoDBClient"
    cloudwatch: "CloudWatchClient"
    events: "EventBridgeClient"

    @classmethod
    def of_environment(cls) -> "Clients":
        """Create clients with the job's own role."""
        return cls(
            s3=boto3.client("s3"),
            dynamodb=boto3.client("dynamodb"),
            cloudwatch=boto3.client("cloudwatch"),
            events=boto3.client("events"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Arguments of the job."""

    now: datetime  # time of the schedule's event
    settings: DecideSettings  # settings of the decision, as in the environment of the Lambda engine's function
    artifacts: str  # bucket of counts, baselines and reports
    captures: str  # bucket of captures and labels
    table: str  # table of the rollouts, which has the live model
    attribution_rows: int = 0  # number of captured rows to explain. Default: none


def run(options: Options, count: Count, clients: Clients) -> tuple[MonitorReport, dict[str, str]]:
    """Count the remaining objects, explain, and decide on the window.

    Objects of the hours that may be added to the window are counted too, including those of windows whose run failed. Return the
    report, and why objects could not be counted, by key.
    """
    settings = replace(options.settings, engine="PROCESSING")
    store = MonitorStore(clients.s3, endpoint=settings.endpoint, artifacts=options.artifacts, captures=options.captures)
    table = RolloutTable(clients.dynamodb, options.table, settings.endpoint)
    text = table.read().live
    failed: dict[str, str] = {}
    measured: dict[Monitor, MonitorResult] = {}
    if text is not None:
        live = from_json(LivePointer, text)
        baseline = _baseline(live, store)
        if baseline is not None:
            window = Window.before(options.now, settings.window_hours)
            looked_at = window.extended(settings.spec.merge_hours)
            sizes = store.capture_sizes(settings.variant, looked_at)
            failed = _count_rest(sizes, looked_at, live, baseline, options=options, store=store, count=count)
            own = {key: size for key, size in sizes.items() if _is_in(window, store.object_hour(key))}
            explained = _explain(own, live, baseline, options=options, store=store, s3=clients.s3)
            measured = {} if explained is None else {"explainability": explained}
    report = decide_window(
        options.now,
        settings,
        store=store,
        table=table,
        cloudwatch=clients.cloudwatch,
        events=clients.events,
        measured=measured,
    )
    return report, failed


def _baseline(live: LivePointer, store: MonitorStore) -> Baseline | None:
    """Return the live model's baseline; if it cannot be used, the decision reports why."""
    try:
        return store.read_baseline(live.baseline_uri, live.baseline_sha256)
    except BaselineIntegrityError as error:
        _log.error("nothing is counted: %s", error)
        return None


def _is_in(window: Window, hour: datetime | None) -> bool:
    return hour is not None and window.holds(hour)


def _count_rest(
    sizes: Mapping[str, int],
    window: Window,
    live: LivePointer,
    baseline: Baseline,
    *,
    options: Options,
    store: MonitorStore,
    count: Count,
) -> dict[str, str]:
    settings = options.settings
    counted = {key for objects in store.counts_by_hour(settings.variant, window).values() for key in objects}
    rest = {key: size for key, size in sizes.items() if (target := store.counts_key(key)) and target not in counted}
    entry = {"objects": len(sizes), "to_count": len(rest), "bytes": sum(rest.values())}
    _log.info(json.dumps({"monitor": settings.endpoint, **entry}))
    how = CountSettings(
        endpoint=settings.endpoint,
        artifacts=options.artifacts,
        captures=options.captures,
        baseline=canonical_json(baseline),
        since=live.since,
    )
    return count(rest, how) if rest else {}


def _explain(
    sizes: Mapping[str, int],
    live: LivePointer,
    baseline: Baseline,
    *,
    options: Options,
    store: MonitorStore,
    s3: "S3Client",
) -> ExplainabilityResult | None:
    if not options.attribution_rows:
        return None
    found = explain(
        live,
        baseline,
        sizes,
        s3=s3,
        captures=options.captures,
        rows=options.attribution_rows,
        minimum_ndcg=options.settings.spec.minimum_ndcg,
        announced=store.announced(),
    )
    if found is None:
        _log.warning("the baseline has no attributions; give the evaluation plan attribution_rows, and train again")
    elif found.problems:
        _log.error("the model is not explained: %s", "; ".join(found.problems))
    return found


def parse(arguments: Sequence[str]) -> Options:
    """Read the job's arguments.

    Raises:
        JobError: If the time is invalid, or the number of rows is negative.
        ContractError: If the settings are not valid.
    """
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.monitor")
    # SageMaker limits arguments to 256 characters, so the settings may be split
    parser.add_argument("--settings", required=True, nargs="+", help="DecideSettings as JSON")
    parser.add_argument("--artifacts", required=True, help="bucket of counts, baselines and reports")
    parser.add_argument("--captures", required=True, help="bucket of captures and labels")
    parser.add_argument("--table", required=True, help="table of the rollouts")
    parser.add_argument("--now", required=True, help="ISO 8601 time with a zone, from the schedule's event")
    parser.add_argument(
        "--attribution-rows", type=int, default=0, help="number of captured rows to explain; needs shap"
    )
    given = parser.parse_args(arguments)
    if given.attribution_rows < 0:
        raise JobError(f"--attribution-rows must be 0 or more, got {given.attribution_rows}")
    return Options(
        now=_time(given.now),
        settings=from_json(DecideSettings, "".join(given.settings)),
        artifacts=given.artifacts,
        captures=given.captures,
        table=given.table,
        attribution_rows=given.attribution_rows,
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise JobError(f"--now must be an ISO 8601 time with a zone, such as 2017-08-08T06:00:00Z, got {text!r}")
    return time


def report_to_caller(report: MonitorReport, failed: Mapping[str, str], opt_ml: OptMl) -> int:
    """Write the verdict as the job's exit message, report uncounted objects, and return the exit code: 1 if there are any."""
    verdict = report.verdict
    opt_ml.write_message(verdict)
    sys.stderr.write(f"mlops monitor: {verdict}\n")
    for key, reason in failed.items():
        sys.stderr.write(f"mlops monitor: {key} is not counted: {reason}\n")
    return 1 if failed else 0


def main(arguments: Sequence[str], count: Count | None = None) -> int:
    """Run the job, by default in a process per CPU. Returns the exit code; a user error is one line on standard error."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    _log.setLevel(logging.INFO)
    try:
        report, failed = run(parse(arguments), _in_processes if count is None else count, Clients.of_environment())
    except (JobError, ContractError) as error:
        sys.stderr.write(f"mlops monitor: {error}\n")
        return 1
    return report_to_caller(report, failed, OptMl.from_environment(os.environ))


def _in_processes(sizes: Mapping[str, int], settings: CountSettings) -> dict[str, str]:
    return count_objects(sizes, settings, processes=len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
