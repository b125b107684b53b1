"""The loop on real retail transactions, asserted step by step, on the embedded cloud.

The unit's template, IAM and machines are the ones that go to AWS. The clock of the embedded cloud stands in 2017, runs sixty
times as fast, and jumps from week to week.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from examples.retail.demand_forecasting import data, planted
from examples.retail.loop import Call, Loop, LoopError, expect
from examples.retail.page import Row, Week, write_page
from examples.retail.transactions import week_start
from mlops_cli.stacks import synthesize_app
from mlops_local import cloud as local_cloud
from mlops_local import deployer
from mlops_runtime.contracts.monitor import MonitorReport, MonitorState
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.features.client import FeatureStoreClient

STACK, UNIT = "DemandForecasting", "demand"
FIRST_LIVE_WEEK, LAST_WEEK = 31, 52
CLOCK_SCALE = 60.0
BAKE_SECONDS = 2 * 600  # the two steps of the unit's canary


@dataclass(slots=True, kw_only=True)
class Result:
    """What the demo did; ``platform_seconds`` leaves out training and the bakes of the canaries."""

    rows: list[Row] = field(default_factory=list)
    weeks: list[Week] = field(default_factory=list)
    seconds: float = 0.0
    waited_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every step did what it should."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``mlops demo --json`` prints it."""
        steps = [{"name": r.name, "ok": r.ok, "seconds": round(r.seconds, 2), "detail": r.detail} for r in self.rows]
        platform = round(self.seconds - self.waited_seconds, 2)
        return {"ok": self.ok, "seconds": round(self.seconds, 2), "platform_seconds": platform, "steps": steps}


class _Stop(Exception):  # noqa: N818 - control flow of this module, not an error of its own
    """A step missed; the rest cannot follow."""


class _Demo:
    def __init__(self, say: Callable[[str], None]) -> None:
        self.result = Result()
        self._say = say
        self.first_missed = ""

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; its detail is what the block appends to the list."""
        detail: list[str] = []
        started, problem = time.monotonic(), ""
        try:
            yield detail
        except _Stop:
            raise
        except (LoopError, local_cloud.CloudError, deployer.DeployError) as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        text = problem or "; ".join(detail)
        self.result.rows.append(Row(name=name, ok=not problem, seconds=seconds, detail=text))
        self._say(f"{'ok  ' if not problem else 'MISS'} {seconds:6.1f} s  {name}: {text}")
        if problem:
            raise _Stop


def run(*, page: Path, say: Callable[[str], None]) -> Result:
    """Run the loop once, write the page, leave nothing running.

    Args:
        page: Where the page is written.
        say: Called with one line a step.
    """
    demo = _Demo(say)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlops-demo-") as folder:
        home = Path(folder) / "cloud"
        running: local_cloud.Cloud | None = None
        try:
            with demo.step("start the embedded cloud") as detail:
                running = local_cloud.up(home, clock_scale=CLOCK_SCALE)
                running.clock_jump(to=week_start(FIRST_LIVE_WEEK))
                detail.append(f"at {running.endpoint_url}, {week_start(FIRST_LIVE_WEEK):%Y-%m-%d}")
            _around_the_loop(demo, running, Path(folder))
        except _Stop:
            pass
        finally:
            if running is not None:
                running.down()
    demo.result.seconds = time.monotonic() - started
    result = demo.result
    missed = next((row.name for row in result.rows if not row.ok), None)
    verdict = "Every step did what it should." if missed is None else f"Stopped at: {missed}."
    seconds = result.as_json()
    note = (
        f"{seconds['seconds']:.0f} s in all, {seconds['platform_seconds']:.0f} s of the platform without training and bakes. "
        "Real transactions of 457 grocery stores over 2017 (completejourney). The embedded cloud ran the template that goes to AWS."
    )
    write_page(page, ok=result.ok, verdict=verdict, note=note, rows=result.rows, weeks=result.weeks)
    say(f"{'ok' if result.ok else 'MISSED'}: {note}")
    say(f"page: {page}")
    return result


def _around_the_loop(demo: _Demo, running: local_cloud.Cloud, folder: Path) -> None:
    with demo.step("synthesize the unit") as detail:
        synthesize_app(None, folder / "assembly")
        detail.append(f"stack {STACK}")

    with demo.step("deploy, in an account without any model") as detail:
        count = [0]
        outputs = deployer.deploy(
            running, folder / "assembly", stacks=[STACK], on_event=lambda _event: count.__setitem__(0, count[0] + 1)
        )[STACK]
        loop = Loop(client=running.client, outputs=outputs, unit=UNIT, now=lambda: _now(running))
        loop.wait_idle("DeployMachineArn")
        expect(loop.live() is None, "something serves before any model was approved")
        detail.append(f"{len(outputs)} outputs; desired spec stored, nothing live yet")

    with demo.step("ingest weeks 1-30") as detail:
        client = FeatureStoreClient.glue(
            database=outputs["FeatureDatabase"], environment=running.environment(), now=lambda: _now(running)
        )
        rows = data.ingest_weeks(client, 1, FIRST_LIVE_WEEK - 1)
        detail.append(f"{rows} rows in three Iceberg tables")

    deployed = {e["executionArn"] for e in loop.executions("DeployMachineArn")}
    _train(demo, running, loop, "train the first model, gate it, register it, approve it", "no model yet")
    with demo.step("the endpoint is born at the approval") as detail:
        _deployed(loop, deployed)
        live = _live_version(loop)
        expect(loop.audit()[-1].outcome is Outcome.PROMOTED, f"the audit says {loop.audit()[-1].outcome}")
        detail.append(f"version {live} serves from {loop.serving_config()}")

    week = _replay_until_alarm(demo, running, loop, client)
    _retrained_and_promoted(demo, running, loop, week)
    with demo.step("replay two more weeks on the new model") as detail:
        for later in (week + 1, week + 2):
            report = _replay_week(demo, running, loop, client, later)
            detail.append(f"week {later}: drift {report.drift_state}, quality {report.quality_state}")
    _bad_model_rolled_back(demo, loop, week + 2)

    with demo.step("verify the audit chain") as detail:
        records = loop.audit()
        problems = loop.audit_problems()
        expect(not problems, f"the chain is broken: {problems}")
        detail.append(" -> ".join(r.outcome.value for r in records))


def _train(demo: _Demo, running: local_cloud.Cloud, loop: Loop, name: str, why: str) -> None:
    with demo.step(name) as detail:
        seen = {e["executionArn"] for e in loop.executions("RetrainMachineArn")}
        loop.request_retraining(why, f"request-{_now(running):%Y%m%d%H%M%S}")
        loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=120)
        _training_outcome(demo, loop, detail)


def _training_outcome(demo: _Demo, loop: Loop, detail: list[str]) -> None:
    package = loop.newest_package()
    expect(package["ModelApprovalStatus"] == "Approved", f"version {package['ModelPackageVersion']} is not approved")
    evaluation = loop.evaluation_of(package)
    demo.result.waited_seconds += loop.training_seconds() / CLOCK_SCALE
    metrics = ", ".join(f"{k} {v:.3f}" for k, v in sorted(evaluation.metrics.items()))
    detail.append(f"version {package['ModelPackageVersion']} on {evaluation.rows} holdout rows: WAPE {metrics}")


def _deployed(loop: Loop, seen: set[str], error: str | None = None) -> dict[str, Any]:
    return loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error=error)


def _live_version(loop: Loop) -> str:
    live = loop.live()
    if live is None:
        raise LoopError("nothing serves")
    return live.model_package_arn.rsplit("/", 1)[-1]


def _replay_until_alarm(demo: _Demo, running: local_cloud.Cloud, loop: Loop, client: FeatureStoreClient) -> int:
    """Replay weeks as live requests until the loop itself starts a retraining; return the week after which it did."""
    seen = {e["executionArn"] for e in loop.executions("RetrainMachineArn")}
    with demo.step("replay weeks as live requests until the season's change raises an alarm") as detail:
        for week in range(FIRST_LIVE_WEEK, LAST_WEEK + 1):
            report = _replay_week(demo, running, loop, client, week)
            if MonitorState.VIOLATION in (report.drift_state, report.quality_state):
                deadline = time.monotonic() + 15
                while time.monotonic() < deadline:
                    if {e["executionArn"] for e in loop.executions("RetrainMachineArn")} - seen:
                        drifted = [f.name for f in report.features if f.drifted]
                        detail.append(f"week {week}: drift {report.drift_state}, quality {report.quality_state}")
                        detail.append(f"drifted {', '.join(drifted)}" if drifted else f"quality {dict(report.quality)}")
                        alarms = [name for name, state in loop.alarms().items() if state == "ALARM"]
                        detail.append(f"alarms {', '.join(alarms)}")
                        return week
                    time.sleep(0.2)
        raise LoopError(f"no alarm led to a retraining by week {LAST_WEEK}")


def _replay_week(
    demo: _Demo, running: local_cloud.Cloud, loop: Loop, client: FeatureStoreClient, week: int
) -> MonitorReport:
    requests, labels = data.requests_for_week(week), data.labels_for_week(week)
    version = _live_version(loop)
    calls = loop.invoke(requests, f"week-{week}")
    predictions = [p for call in calls for p in call.predictions]
    expect(len(predictions) == len(labels), f"{len(predictions)} predictions for {len(labels)} series")
    loop.wait_counted()
    known = len(loop.reports())
    running.clock_jump(to=week_start(week + 1) - timedelta(hours=6))
    loop.upload_labels(calls, labels, f"week-{week}")
    data.ingest_weeks(client, week, week)
    running.clock_jump(to=week_start(week + 1))
    report = loop.wait_report(known)
    error = sum(abs(p - y) for p, y in zip(predictions, labels, strict=True)) / sum(labels)
    demo.result.weeks.append(
        Week(
            week=week,
            actual=sum(labels),
            forecast=sum(predictions),
            wape=error,
            naive_wape=data.naive_error(week),
            psi={f.name: f.psi for f in report.features},
            calls={f"version {version}": len(calls)},
        )
    )
    return report


def _retrained_and_promoted(demo: _Demo, running: local_cloud.Cloud, loop: Loop, week: int) -> None:
    old_config, old_version = loop.serving_config(), _live_version(loop)
    deployed = {e["executionArn"] for e in loop.executions("DeployMachineArn")}
    with demo.step("the alarm retrains through the guard") as detail:
        newest = loop.executions("RetrainMachineArn")[0]["executionArn"]
        loop.wait_execution("RetrainMachineArn", _others(loop, "RetrainMachineArn", newest), appear=5, finish=120)
        _training_outcome(demo, loop, detail)
    with demo.step("the canary promotes the new model under live traffic") as detail:
        started = _now(running)
        with loop.traffic(data.requests_for_week(week + 1), f"canary-{week}") as traffic:
            _deployed(loop, deployed)
        record = _last_record(loop, Outcome.PROMOTED)
        expect(record.serving_config == loop.serving_config() != old_config, "the old config still serves")
        expect(traffic.refused == 0, f"{traffic.refused} calls failed during the canary")
        new_version = _live_version(loop)
        old, new = (loop.invocations(c, started, _now(running)) for c in (old_config, loop.serving_config()))
        demo.result.waited_seconds += BAKE_SECONDS / CLOCK_SCALE
        _mark(demo, "promoted", {f"version {old_version}": old, f"version {new_version}": new})
        detail.append(
            f"version {new_version} took over from {old_version}; {traffic.answered} calls answered, 0 failed"
        )
        detail.append(f"old fleet {old} calls, new fleet {new}")


def _bad_model_rolled_back(demo: _Demo, loop: Loop, week: int) -> None:
    good_config, good_version = loop.serving_config(), _live_version(loop)
    with demo.step("a bad model is approved by hand, and rolled back while the old one serves") as detail:
        deployed = {e["executionArn"] for e in loop.executions("DeployMachineArn")}
        live = loop.live()
        if live is None:
            raise LoopError("nothing serves")
        requests = data.requests_for_week(week + 1)
        with loop.traffic(requests, f"planted-{week}") as traffic:
            planted.approve_bad_package(loop, live)
            _deployed(loop, deployed, Outcome.ROLLED_BACK.value)
        record = _last_record(loop, Outcome.ROLLED_BACK)
        expect(loop.serving_config() == good_config, f"{loop.serving_config()} serves instead of {good_config}")
        expect(_live_version(loop) == good_version, "the live pointer moved to the bad model")
        calls: list[Call] = loop.invoke(requests[:64], f"after-{week}")
        expect(calls, "the endpoint no longer answers")
        expect(traffic.refused > 0, "the bad model never failed a call, so nothing was proved")
        expect(traffic.answered > traffic.refused, "the bad model took most of the traffic")
        detail.append(
            f"{record.reason}; {traffic.answered} calls answered by version {good_version}, {traffic.refused} failed"
        )


def _now(running: local_cloud.Cloud) -> datetime:
    return datetime.fromisoformat(running.clock()["now"])


def _others(loop: Loop, machine: str, arn: str) -> set[str]:
    return {e["executionArn"] for e in loop.executions(machine)} - {arn}


def _last_record(loop: Loop, outcome: Outcome) -> AuditRecord:
    record = loop.audit()[-1]
    expect(record.outcome is outcome, f"the audit's last record says {record.outcome}: {record.reason}")
    return record


def _mark(demo: _Demo, event: str, calls: dict[str, int]) -> None:
    last = demo.result.weeks[-1]
    fields = {name: getattr(last, name) for name in Week.__slots__}
    demo.result.weeks[-1] = Week(**{**fields, "event": event, "calls": {**last.calls, **calls}})
