"""Steps of a trip: timed, reported and recorded, with the common steps of all trips. A failed step ends the trip."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

from examples.retail.evidence import keep_log, write_histories
from examples.retail.loop import Call, Loop, LoopError, Traffic, expect
from examples.retail.pace import paced
from examples.retail.page import Link, Row, Week
from examples.retail.replay import Replay
from examples.retail.transactions import week_end, week_start
from examples.retail.trip_files import record_file, report_file, write_files
from mlops_cli.stacks import synthesize_app
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, Outcome
from mlops_runtime.features.store_client import FeatureStoreClient

CLOCK_SCALE = 60.0
DECIDED = timedelta(
    minutes=15
)  # time of the monitor's decision after the start of a week, when captures have been delivered
BAKE_SECONDS = 1200  # per rollout of each unit: two steps of ten minutes, or four of five


@dataclass(slots=True, kw_only=True)
class Result:
    """Result of the demo; ``platform_seconds`` excludes training and the bakes of the canaries.

    Args:
        rows: The steps.
        weeks: The replayed weeks.
        seconds: Total duration.
        waited_seconds: Duration of training and baking.
        home: Folder of the embedded cloud that was left running. Default: none.
    """

    rows: list[Row] = field(default_factory=list)
    weeks: list[Week] = field(default_factory=list)
    seconds: float = 0.0
    waited_seconds: float = 0.0
    home: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether every step succeeded."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``mlops demo --json`` prints it."""
        steps = [{"name": r.name, "ok": r.ok, "seconds": round(r.seconds, 2), "detail": r.detail} for r in self.rows]
        platform = round(self.seconds - self.waited_seconds, 2)
        return {"ok": self.ok, "seconds": round(self.seconds, 2), "platform_seconds": platform, "steps": steps}


def silent(_name: str) -> None:
    """Do not report the start of a step."""


class Missed(Exception):  # noqa: N818 - how a trip ends early, not an error of its own
    """A step failed, so the remaining steps cannot run."""


class Trip:
    """One trip of one unit on a running cloud.

    Args:
        replay: The unit.
        echo: Called with one line at the end of each step.
        begin: Called with a step's name at its start. Default: no call.
    """

    loop: Loop
    store: FeatureStoreClient
    running: local_cloud.Cloud
    clock_scale = CLOCK_SCALE

    def __init__(
        self,
        replay: Replay,
        echo: Callable[[str], None],
        *,
        begin: Callable[[str], None] = silent,
    ) -> None:
        self.replay, self.result, self.first, self._echo, self._begin = replay, Result(), replay.first, echo, begin
        self._reports: dict[int, MonitorReport] = {}
        self._links: list[Link] = []
        self._data: Thread | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step, whose detail is appended to the list in the block.

        Raises:
            Missed: If the block raises an exception, which is reported and recorded.
        """
        detail: list[str] = []
        self._begin(name)
        self._links.clear()
        started, problem = time.monotonic(), ""
        try:
            yield detail
        except Missed:
            raise
        except (LoopError, local_cloud.CloudError, deployer.DeployError) as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - started
        text = problem or "; ".join(detail)
        self.result.rows.append(Row(name=name, ok=not problem, seconds=seconds, detail=text, links=tuple(self._links)))
        self._echo(f"{'ok  ' if not problem else 'MISS'} {seconds:6.1f} s  {name}: {text}")
        if problem:
            raise Missed

    def now(self) -> datetime:
        """Return the time in the cloud."""
        return datetime.fromisoformat(self.running.clock()["now"])

    def start(self, home: Path, *, account_count: int = 1) -> None:
        """Start the cloud at the first live week.

        Args:
            home: Its folder.
            account_count: Number of accounts.
        """
        with self.step("start the embedded cloud") as detail:
            local_cloud.forget(home)  # of a demo that was kept
            self.running = local_cloud.up(home, clock_scale=self.clock_scale, account_count=account_count)
            self.running.clock_jump(to=week_start(self.first))
            detail.append(f"at {self.running.endpoint_url}, {week_start(self.first):%Y-%m-%d}")

    def keep_evidence(self, folder: Path) -> None:
        """Store evidence of the last step's failure and report its location, unless the cloud never started."""
        if not hasattr(self, "running"):
            return
        keep_log(folder, self.running)
        self.write_histories(folder)
        last = self.result.rows[-1]
        self.result.rows[-1] = replace(last, detail=f"{last.detail}; evidence in {folder}")
        self._echo(f"evidence: {folder}")

    def write_histories(self, folder: Path) -> None:
        """Write the histories of state machines and alarms, if a unit was deployed."""
        if hasattr(self, "loop"):
            write_histories(folder, self.running, self.loop)

    def write_files(self, folder: Path) -> None:
        """Write the reports and records to which the steps link, if a unit was deployed."""
        if hasattr(self, "loop"):
            write_files(folder, self.loop, self._reports)

    def stop(self) -> None:
        """Stop the cloud, if it started, and wait until no data are computed any more."""
        try:
            if hasattr(self, "running"):
                self.running.down(forget=True)
        finally:
            if self._data is not None:
                self._data.join()

    def deploy(self, folder: Path) -> None:
        """Synthesize the unit's stack of the app, and deploy it; meanwhile, compute the unit's data on a thread."""
        stack = self.replay.stack
        self._data = Thread(target=self.replay.requests, args=(self.first,), daemon=True)
        self._data.start()
        with self.step("synthesize the unit") as detail:
            surroundings = self.running.environment()
            synthesize_app(None, folder / "assembly", {"stacks": [stack]}, surroundings)
            detail.append(f"stack {stack}")
        with self.step("deploy, in an account without any model") as detail:
            outputs = deployer.deploy(self.running, folder / "assembly", stacks=[stack])[stack]
            self.meet(self.running, outputs)
            detail.append(f"{len(outputs)} outputs; desired spec stored, nothing live yet")

    def meet(self, running: local_cloud.Cloud, outputs: Mapping[str, str]) -> None:
        """Start with a stack that was just deployed.

        Args:
            running: The cloud.
            outputs: The stack's outputs.
        """
        self.running = running
        self.loop = Loop(client=running.client, outputs=outputs, unit=self.replay.unit, now=self.now)
        self.loop.wait_idle("DeployMachineArn")
        expect(self.loop.live() is None, "something serves before any model was approved")

    def ingest(self) -> None:
        """Ingest the data known at the first live week."""
        replay = self.replay
        with self.step(f"ingest weeks 1-{self.first - 1}") as detail:
            self.store = FeatureStoreClient.glue(
                database=self.loop.outputs["FeatureDatabase"], environment=self.surroundings(), now=self.now
            )
            if self._data is not None:
                self._data.join()
            rows = replay.ingest(self.store, 1, self.first - replay.weeks)
            detail.append(f"{rows} rows in {replay.tables} Iceberg tables")

    def surroundings(self) -> dict[str, str]:
        """Return the environment variables for a tool to be root of the account that trains the model."""
        return self.running.environment()

    def seen(self, machine: str) -> set[str]:
        """Return the executions that a machine has had so far."""
        return {execution["executionArn"] for execution in self.loop.executions(machine)}

    def train(self, why: str) -> dict[str, Any]:
        """Request a training, wait for its end, and return its package."""
        seen = self.seen("RetrainMachineArn")
        self.loop.request_retraining(why, f"request-{self.now():%Y%m%d%H%M%S}")
        return self.loop.package_of(self.loop.wait_execution("RetrainMachineArn", seen, appear=30, finish=120))

    def trained(self, package: dict[str, Any], detail: list[str], approval: str = "Approved") -> None:
        """Check the approval status of a package, and report the gate's evaluation."""
        version, got = package["ModelPackageVersion"], package["ModelApprovalStatus"]
        expect(got == approval, f"version {version} is {got}, not {approval}")
        evaluation = self.loop.evaluation_of(package)
        self.result.waited_seconds += self.loop.training_seconds() / self.clock_scale
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in sorted(evaluation.metrics.items()))
        detail.append(f"version {version} on {evaluation.rows} holdout rows: {self.replay.words.loss} {metrics}")

    def deployed(self, package: str, outcome: Outcome, *, seen: Collection[str] = ()) -> AuditRecord:
        """Wait for a package's deployment with the expected outcome, and return its audit record.

        Args:
            package: ARN of the package; the loop may deploy another one at the same time.
            outcome: Expected outcome.
            seen: ARNs of earlier deployments of the same package.
        """
        error = None if outcome is Outcome.PROMOTED else outcome.value
        ended = self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=300, error=error, package=package)
        record = next(each for each in reversed(self.loop.audit()) if each.execution == ended["executionArn"])
        self._link_record(record)
        expect(record.outcome is outcome, f"the audit record has {record.outcome} for {package}: {record.reason}")
        return record

    def live(self) -> LivePointer:
        """Return the live version.

        Raises:
            LoopError: If no version serves.
        """
        live = self.loop.live()
        if live is None:
            raise LoopError("nothing serves")
        return live

    def live_version(self) -> str:
        """Return the version that serves."""
        return self.live().model_package_arn.rsplit("/", 1)[-1]

    def replay_period(self, period: int) -> MonitorReport:
        """Replay a period as live requests, a part in each of its weeks, then its labels; return the monitor's report.

        In a week without calls, a weekly monitor would report missing traffic.
        """
        replay, loop = self.replay, self.loop
        requests, labels = replay.requests(period), replay.labels(period)
        version = self.live_version()
        last = period + replay.weeks - 1
        cuts = [len(requests) * number // replay.weeks for number in range(replay.weeks + 1)]
        calls: list[Call] = []
        for week, (start, end) in enumerate(pairwise(cuts), start=period):
            calls += loop.invoke(requests[start:end], f"{replay.period}-{week}", size=replay.rows_per_call)
            loop.wait_counted()
            if week < last:
                known = len(loop.report_keys())
                self.running.clock_jump(to=week_start(week + 1) + DECIDED)
                loop.wait_report(known)
        predictions = [p for call in calls for p in call.predictions]
        expect(len(predictions) == len(labels), f"{len(predictions)} predictions for {len(labels)} rows")
        known = len(loop.report_keys())
        self.running.clock_jump(to=week_end(last))
        loop.upload_labels(calls, labels, f"{replay.period}-{period}")
        replay.ingest(self.store, period, period)
        self.running.clock_jump(to=week_start(last + 1) + DECIDED)
        report = loop.wait_report(known)
        self._reports[period] = report
        self._links.append(Link(text=f"report of {replay.period} {period}", file=report_file(period)))
        self.result.weeks.append(
            Week(
                week=period,
                actual=sum(labels),
                forecast=sum(predictions),
                loss=replay.loss(predictions, labels),
                naive_loss=replay.loss(replay.naive(period), labels),
                psi={feature.name: feature.psi for feature in report.drift.features},
                calls={f"version {version}": len(calls)},
            )
        )
        return report

    def promote(self, package: str, requests: Sequence[dict[str, object]], detail: list[str]) -> None:
        """Send live traffic until the deployment of a package has promoted it.

        Args:
            package: Its ARN.
            requests: The live traffic.
            detail: The results are appended.
        """
        loop, old_config, old_version, started = self.loop, self.live().config, self.live_version(), self.now()
        with self._traffic(requests, "rollout") as traffic:
            record = self.deployed(package, Outcome.PROMOTED)
        expect(record.serving_config == loop.serving_config() != old_config, "the old config still serves")
        expect(traffic.refused == 0, f"{traffic.refused} calls failed during the rollout")
        new_version = self.live_version()
        old, new = (loop.invocations(c, started, self.now()) for c in (old_config, loop.serving_config()))
        self.result.waited_seconds += BAKE_SECONDS / self.clock_scale
        self._mark("promoted", {f"version {old_version}": old, f"version {new_version}": new})
        detail.append(
            f"version {new_version} took over from {old_version}; {traffic.answered} calls answered, 0 failed"
        )
        detail.append(f"old fleet {old} calls, new fleet {new}")

    def roll_back(self, requests: Sequence[dict[str, object]], release: Callable[[], str], detail: list[str]) -> None:
        """Release a bad model under live traffic, and check that the loop rolls back to the live one.

        Args:
            requests: The live traffic.
            release: Approves the bad model, and returns its package.
            detail: The results are appended.
        """
        loop, good_config, good_version = self.loop, self.loop.serving_config(), self.live_version()
        with self._traffic(requests, "planted") as traffic:
            record = self.deployed(release(), Outcome.ROLLED_BACK)
        expect(loop.serving_config() == good_config, f"{loop.serving_config()} serves instead of {good_config}")
        expect(self.live_version() == good_version, "the live pointer moved to the bad model")
        calls: list[Call] = loop.invoke(requests[:64], f"after-{self.now():%Y%m%d%H%M%S}")
        expect(calls, "the endpoint no longer responds")
        expect(traffic.refused > 0, "the bad model never failed a call, so nothing was verified")
        expect(traffic.answered > traffic.refused, "the bad model took most of the traffic")
        self.result.waited_seconds += traffic.refused_seconds  # its canary baked until an alarm ended it
        detail.append(
            f"{record.reason}; {traffic.answered} calls answered by version {good_version}, {traffic.refused} failed"
        )

    def turn_down(self, release: Callable[[], str], detail: list[str]) -> None:
        """Release a bad model that fails its golden requests, and check that it never gets to the endpoint.

        Args:
            release: Approves the bad model, and returns its package.
            detail: The results are appended.
        """
        loop, config = self.loop, self.loop.serving_config()
        record = self.deployed(release(), Outcome.REFUSED)
        expect(loop.serving_config() == config, f"{loop.serving_config()} serves instead of {config}")
        expect("golden requests" in record.reason, f"it was rejected for another reason: {record.reason}")
        detail.append(record.reason)

    def verify_audit(self) -> None:
        """Check that the audit chain is intact."""
        with self.step("verify the audit chain") as detail:
            records, problems = self.loop.audit(), self.loop.audit_problems()
            expect(not problems, f"the chain is broken: {problems}")
            detail.append(" -> ".join(record.outcome.value for record in records))
            for record in records:
                self._link_record(record)

    @contextmanager
    def _traffic(self, requests: Sequence[dict[str, object]], prefix: str) -> Iterator[Traffic]:
        """Send requests until the block ends, with the clock slowed to their rate, so that a minute has as many on any machine."""
        named, whole_every = f"{prefix}-{self.now():%Y%m%d%H%M%S}", self.replay.whole_every
        with (
            self.loop.traffic(requests, named, whole_every=whole_every) as traffic,
            paced(self.running, lambda: traffic.answered + traffic.refused),
        ):
            yield traffic

    def _link_record(self, record: AuditRecord) -> None:
        self._links.append(
            Link(text=f"record {record.sequence}: {record.outcome.value.lower()}", file=record_file(record))
        )

    def _mark(self, event: str, calls: dict[str, int]) -> None:
        last = self.result.weeks[-1]
        self.result.weeks[-1] = replace(last, event=event, calls={**last.calls, **calls})
