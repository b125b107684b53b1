"""Checks of a deployed unit: approvals, a first model, a promoted canary, and a canary that an alarm rolls back."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.verify.account import Place
from mlops_runtime.verify.package_checks import REASON, PackageChecks
from mlops_runtime.verify.probe_model import failing, times
from mlops_runtime.verify.problems import CheckError, NoEvidenceError, expect
from mlops_runtime.verify.unit import Deployed

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef, ExecutionListItemTypeDef

_X = 2.0
_FIRST, _SECOND = 3.0, 5.0


class LoopChecks:
    """The checks of one deployed unit; each returns its evidence or raises ``CheckError``."""

    def __init__(self, place: Place, deployed: Deployed, packages: PackageChecks, beat: Callable[[], None]) -> None:
        self._place, self._deployed, self._packages, self._beat = place, deployed, packages, beat
        self._sagemaker, self._machines = place.client("sagemaker"), place.client("stepfunctions")
        self._endpoint, self._machine = deployed.outputs["EndpointName"], deployed.outputs["DeployMachineArn"]
        self._served = ""

    @property
    def served(self) -> str:
        """ARN of the package that was approved first; empty before."""
        return self._served

    def functions_are_active(self) -> str:
        """Each function of the stack is Active."""
        client = self._place.client("lambda")

        def settled(name: str) -> "FunctionConfigurationResponseTypeDef | None":
            found = client.get_function_configuration(FunctionName=name)
            return None if found.get("State") == "Pending" else found

        for name in self._deployed.functions:
            found = self._place.wait(lambda name=name: settled(name), f"function {name}", beat=self._beat)  # type: ignore[misc]
            expect(
                found.get("State", "Active") == "Active", f"{name} is {found.get('State')}: {found.get('StateReason')}"
            )
        return f"{len(self._deployed.functions)} functions are Active"

    def nothing_serves_yet(self) -> str:
        """The Deploy machine, which the first deployment starts, ends without an endpoint."""
        self._idle()
        failed = [e["name"] for e in self._executions() if e["status"] not in ("SUCCEEDED", "RUNNING")]
        expect(not failed, f"executions that did not succeed: {', '.join(failed)}")
        expect(self._describe_endpoint() is None, "an endpoint exists before a model was approved")
        return "the stack was created, the Deploy machine ended, no endpoint"

    def first_model_serves(self) -> str:
        """An approval creates the endpoint, with network isolation, and it responds correctly."""
        started = time.monotonic()
        self._served = self._packages.register(times(_FIRST))
        ended = self._approve(self._served)
        expect(ended["status"] == "SUCCEEDED", f"the deployment ended {ended.get('error')}: {ended.get('cause')}")
        self._answers(_FIRST * _X)
        return f"in service and right {time.monotonic() - started:.0f} s after the approval"

    def capture_arrives(self) -> str:
        """A call of the endpoint becomes an object below ``capture/``."""
        s3, bucket = self._place.client("s3"), self._deployed.outputs["CaptureBucket"]
        self._invoke()

        def landed() -> int | None:
            found = s3.list_objects_v2(Bucket=bucket, Prefix=f"capture/{self._endpoint}/").get("KeyCount", 0)
            return int(found) or None

        return f"{self._place.wait(landed, 'an object below capture/', beat=self._beat)} capture objects"

    def metadata_starts_nothing(self) -> str:
        """A change of a package's metadata alone starts no deployment."""
        before = self._seen()
        self._sagemaker.update_model_package(ModelPackageArn=self._served, CustomerMetadataProperties={"note": REASON})
        deadline = time.monotonic() + self._place.pace.quiet
        while time.monotonic() < deadline:
            expect(self._seen() == before, "a change of metadata started the Deploy machine")
            self._beat()
            time.sleep(self._place.pace.poll)
        return f"approvals started {len(before) - 1} executions, a change of metadata none in {self._place.pace.quiet:.0f} s"

    def approval_again_sends_an_event(self) -> str:
        """Approving an approved package again starts the Deploy machine."""
        seen = self._seen()
        self._packages.approver().approve(self._packages.describe(self._served), reason=f"{REASON}, again")
        self._ended(self._appeared(seen))
        return "an execution of the Deploy machine"

    def canary_promotes(self) -> str:
        """A second model takes over under traffic."""
        config = self._config()
        with self._traffic() as traffic:
            ended = self._approve(self._packages.register(times(_SECOND)))
        expect(ended["status"] == "SUCCEEDED", f"the rollout ended {ended.get('error')}: {ended.get('cause')}")
        expect(self._config() != config, "the old endpoint config still serves")
        self._answers(_SECOND * _X)
        return f"{traffic.answered} calls answered, {traffic.refused} failed"

    def metrics_by_config(self) -> str:
        """The endpoint's metrics have the dimension ``EndpointConfigName``."""
        client, config = self._place.client("cloudwatch"), self._config()

        def listed() -> int | None:
            answer = client.list_metrics(
                Namespace="AWS/SageMaker",
                MetricName="Invocations",
                Dimensions=[
                    {"Name": "EndpointName", "Value": self._endpoint},
                    {"Name": "EndpointConfigName", "Value": config},
                ],
            )
            return len(answer["Metrics"]) or None

        return f"{self._place.wait(listed, 'metrics by EndpointConfigName', beat=self._beat)} metrics of the new config"

    def canary_rolls_back(self) -> str:
        """A model that fails on every call triggers its alarm; the old config stays live."""
        config = self._config()
        with self._traffic() as traffic:
            ended = self._approve(self._packages.register(failing()))
        expect(
            ended.get("error") == "ROLLED_BACK",
            f"it ended {ended['status']} {ended.get('error')}: {ended.get('cause')}",
        )
        expect(self._config() == config, "the endpoint does not serve the old config")
        self._answers(_SECOND * _X)
        if not traffic.refused:
            raise NoEvidenceError(f"it rolled back before a call reached the failing model: {ended.get('cause')}")
        return f"{traffic.answered} calls answered, {traffic.refused} failed, then rolled back: {ended.get('cause')}"

    def network_has_no_reject(self) -> str:
        """The unit's flow logs have records and no REJECT."""
        logs, group = self._place.client("logs"), self._deployed.outputs.get("FlowLogs", "")
        if not group or not logs.describe_log_streams(logGroupName=group, limit=1)["logStreams"]:
            raise NoEvidenceError("the flow logs have no records")
        found = [
            event["message"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern="REJECT")
            for event in page["events"]
        ]
        expect(not found, f"{len(found)} records of REJECT, the first: {' '.join(found[:1])}")
        return "records, and no REJECT"

    # -- actions of a person

    def _approve(self, package: str) -> "DescribeExecutionOutputTypeDef":
        """Approve a package and return how the deployment of it ended."""
        self._idle()
        seen = self._seen()
        self._packages.approver().approve(self._packages.describe(package), reason=REASON)
        return self._ended(self._appeared(seen))

    # -- observations

    def _describe_endpoint(self) -> "DescribeEndpointOutputTypeDef | None":
        try:
            found: DescribeEndpointOutputTypeDef = self._sagemaker.describe_endpoint(EndpointName=self._endpoint)
        except ClientError as error:
            if "Could not find" in str(error):
                return None
            raise
        return found

    def _config(self) -> str:
        found = self._describe_endpoint()
        if found is None:
            raise CheckError(f"there is no endpoint {self._endpoint}")
        return str(found["EndpointConfigName"])

    def _invoke(self) -> float:
        answer = self._place.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self._endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"instances": [{"x": _X}]}),
        )
        return float(json.loads(answer["Body"].read())["predictions"][0])

    def _answers(self, expected: float) -> None:
        answer = self._invoke()
        expect(abs(answer - expected) < 1e-3, f"it answers {answer}, not {expected}")

    def _executions(self) -> "list[ExecutionListItemTypeDef]":
        listed = self._machines.list_executions(stateMachineArn=self._machine, maxResults=100)["executions"]
        return [execution for execution in listed if execution["startDate"] >= self._deployed.since]

    def _seen(self) -> set[str]:
        return {execution["executionArn"] for execution in self._executions()}

    def _idle(self) -> None:
        running: list[str] = []

        def idle() -> bool | None:
            running[:] = [e["executionArn"] for e in self._executions() if e["status"] == "RUNNING"]
            return None if running else True

        with self._stated(running):
            self._place.wait(idle, "the Deploy machine at rest", beat=self._beat)

    def _appeared(self, seen: set[str]) -> str:
        def appeared() -> str | None:
            return next(iter(self._seen() - seen), None)

        return self._place.wait(appeared, "an execution of the Deploy machine", beat=self._beat)

    def _ended(self, execution: str) -> "DescribeExecutionOutputTypeDef":
        def ended() -> "DescribeExecutionOutputTypeDef | None":
            found = self._machines.describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        with self._stated([execution]):
            return self._place.wait(ended, "the end of the rollout", beat=self._beat)

    @contextmanager
    def _stated(self, executions: Sequence[str]) -> Iterator[None]:
        """Add the state of executions to the error if the wait for them times out."""
        try:
            yield
        except CheckError as error:
            raise CheckError("; ".join([str(error), *map(self._current_state, executions)])) from error

    def _current_state(self, execution: str) -> str:
        """Return the state that an execution entered last, and for how long it has been in it."""
        history = self._machines.get_execution_history(
            executionArn=execution, reverseOrder=True, includeExecutionData=False, maxResults=100
        )
        for event in history["events"]:
            if "stateEnteredEventDetails" in event:
                minutes = (self._place.now() - event["timestamp"]).total_seconds() / 60
                state = event["stateEnteredEventDetails"]["name"]
                return f"it has been in state {state} for {minutes:.0f} min by the cloud's clock"
        return "it has entered no state"

    @contextmanager
    def _traffic(self) -> Iterator["_Traffic"]:
        running = _Traffic(self._invoke, self._place.pace.poll / 10)
        running.start()
        try:
            yield running
        finally:
            running.stop()


class _Traffic:
    """A client that sends requests continuously, and counts responses and failures."""

    def __init__(self, send: Callable[[], object], every: float) -> None:
        self.answered = self.refused = 0
        self._send, self._every, self._stop = send, every, Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._send()
                self.answered += 1
            except (ClientError, BotoCoreError):
                self.refused += 1
            self._stop.wait(self._every)
