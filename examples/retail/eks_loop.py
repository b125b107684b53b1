"""The loop of a unit that serves from a cluster, called over HTTP at its load balancer and inspected by the cluster's API."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock, Thread
from typing import Any

from examples.retail.loop import PAUSE, ROWS_PER_CALL, Call, Loop, LoopError, Traffic, expect
from mlops_runtime.contracts.capture import nonce_of
from mlops_runtime.contracts.serving import SLOTS, SlotState
from mlops_runtime.eks.cluster_client import Cluster
from mlops_runtime.eks.kubernetes_objects import deployment_ref
from mlops_runtime.eks.manifests import read_slot

_INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
_THREADS = 3
# status codes of the load balancer itself: target unavailable, timed out, or disconnected
_FROM_THE_SHIFT = frozenset({502, 503, 504})


class RefusedError(LoopError):
    """The service returned an error; ``status`` is 0 without a response."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the service returned {status}: {text[:200]}")
        self.status = status


class EksLoop(Loop):
    """A unit whose model is served from two slots.

    Args:
        client: Returns a boto3 client by service name.
        outputs: The stack's outputs by name.
        unit: Name of the business unit, which is also its namespace.
        now: Returns the time in the cloud.
        cluster: Client of the cluster with read access to everything.
        address: Address of the load balancer on this machine.
    """

    def __init__(
        self,
        *,
        client: Callable[[str], Any],
        outputs: Mapping[str, str],
        unit: str,
        now: Callable[[], datetime],
        cluster: Cluster,
        address: str,
    ) -> None:
        super().__init__(client=client, outputs=outputs, unit=unit, now=now)
        self._cluster, self._host = cluster, address.partition("://")[2]
        self._balancers, self._metrics = client("elbv2"), client("cloudwatch")
        self.sent = self.broken = self.answered = 0
        self._records: dict[str, int] = {}
        self._lock = Lock()

    # -- requests

    def predict(self, rows: Sequence[Mapping[str, object]], inference_id: str) -> tuple[float, ...]:
        """Send one request on a new connection, and return the predictions.

        Raises:
            RefusedError: If the response is an error or missing.
        """
        connection = http.client.HTTPConnection(self._host, timeout=20)
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json", _INFERENCE_ID: inference_id}
            connection.request("POST", "/invocations", json.dumps({"instances": rows}), headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise RefusedError(0, f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RefusedError(answer.status, content.decode(errors="replace"))
        with self._lock:
            self.answered += 1
        found = json.loads(content)
        if "predictions" not in found:
            raise RefusedError(answer.status, f"without predictions: {found}")
        return tuple(found["predictions"])

    def invoke(self, rows: Sequence[Mapping[str, object]], prefix: str, *, size: int = ROWS_PER_CALL) -> list[Call]:
        """Request predictions in calls of ``size`` rows; inference ids are ``<prefix>-<number>``."""
        calls = []
        for number, start in enumerate(range(0, len(rows), size)):
            part, name = rows[start : start + size], f"{prefix}-{number}"
            calls.append(Call(inference_id=name, rows=len(part), predictions=self.predict(part, name)))
        return calls

    @contextmanager
    def traffic(
        self,
        rows: Sequence[Mapping[str, object]],
        prefix: str,
        *,
        whole_every: int | None = None,
        pause: float = PAUSE,
    ) -> Iterator["HttpTraffic"]:
        """Send the rows repeatedly from several clients until the block ends.

        Args:
            rows: The rows, sent in parts.
            prefix: Prefix of the inference ids.
            whole_every: Interval of the calls that send all rows at once: every third with 3. Default: none.
            pause: Real seconds between two calls of one client.
        """
        running = HttpTraffic(self, rows, prefix, whole_every, pause)
        running.start()
        try:
            yield running
        finally:
            running.stop()
            self.sent += running.answered + running.refused + running.broken
            self.broken += running.broken

    def wait_captured(self, *, seconds: float = 60) -> int:
        """Wait until the servers' captures have every answered call, and return their number.

        Raises:
            LoopError: If some are missing after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        while (found := self._captured_records()) < self.answered:
            if time.monotonic() > deadline:
                raise LoopError(f"{found} of {self.answered} calls are captured after {seconds:g} s")
            time.sleep(0.2)
        return found

    def wait_counted(self, *, seconds: float = 60) -> None:
        """Wait until every call is captured, and every capture object counted.

        Raises:
            LoopError: If some are missing after ``seconds`` real seconds.
        """
        self.wait_captured(seconds=seconds)
        super().wait_counted(seconds=seconds)

    def _captured_records(self) -> int:
        for key in self._keys("CaptureBucket", f"capture/{self.endpoint}/"):
            if key not in self._records:
                lines = self._read("CaptureBucket", key).splitlines()
                self._records[key] = sum(_is_a_clients(json.loads(line)) for line in lines)
        return sum(self._records.values())

    # -- state of the slots

    def slots(self) -> dict[str, SlotState]:
        """Return the version in each slot, from its Deployment."""
        found = {}
        for slot in SLOTS:
            reference = deployment_ref(namespace=self.unit, endpoint=self.endpoint, slot=slot)
            found[slot] = read_slot(self._cluster.get(reference), slot)
        return found

    def weights(self) -> dict[str, int]:
        """Return each slot's weight in the listener rule."""
        rule = self._balancers.describe_rules(RuleArns=[self.outputs["RuleArn"]])["Rules"][0]
        groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
        names = {slot: self._group(slot) for slot in SLOTS}
        return {
            slot: next(int(g["Weight"]) for g in groups if g["TargetGroupArn"] == arn) for slot, arn in names.items()
        }

    def serving_config(self) -> str:
        """Return the version that has all of the traffic.

        Raises:
            LoopError: If no slot has.
        """
        states, weights = self.slots(), self.weights()
        for slot, weight in weights.items():
            if weight == 100 and (version := states[slot].version) is not None:
                return version.config
        raise LoopError(f"no slot has all of the traffic: {weights}")

    def invocations(self, config: str, start: datetime, end: datetime) -> int:
        """Return the number of requests answered by the slot of a version."""
        slot = next((s for s, state in self.slots().items() if state.version and state.version.config == config), None)
        if slot is None:
            return 0
        group = self._group(slot)
        described = self._balancers.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]
        balancer = described["LoadBalancerArns"][0]
        names = {
            "LoadBalancer": balancer.partition(":loadbalancer/")[2],
            "TargetGroup": group.rpartition(":")[2],
        }
        points = self._metrics.get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName="RequestCount",
            Dimensions=[{"Name": name, "Value": value} for name, value in names.items()],
            StartTime=start,
            EndTime=end,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return int(sum(point["Sum"] for point in points))

    def summary(self) -> str:
        """Return a summary of the slots."""
        weights = self.weights()
        parts = []
        for slot, state in self.slots().items():
            runs = "nothing" if state.version is None else f"version {state.version.package.rsplit('/', 1)[-1]}"
            parts.append(f"{slot} {weights[slot]} %: {runs}, {state.ready} of {state.desired} pods")
        return "; ".join(parts)

    def verify_shifts(self) -> None:
        """Check that no client lost a response during the rollouts.

        Raises:
            LoopError: If a client got an error of the load balancer, or no client sent a request.
        """
        expect(self.sent > 0, "no client sent a request during the traffic shift, so nothing was verified")
        expect(self.broken == 0, f"{self.broken} of {self.sent} requests got an error of the traffic shift")

    def verify_rest(self, *, seconds: float = 30) -> str:
        """Wait until the slot without traffic has no pods, and return a sentence with its name.

        Raises:
            LoopError: If it still has pods after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        idle = next(slot for slot, weight in self.weights().items() if weight == 0)
        while (state := self.slots()[idle]).desired or state.updated:
            if time.monotonic() > deadline:
                raise LoopError(f"slot {idle} still has {state.updated} of {state.desired} pods after {seconds:g} s")
            time.sleep(0.2)
        return f"slot {idle} has no pods"

    def _group(self, slot: str) -> str:
        groups = self._balancers.describe_target_groups()["TargetGroups"]
        arns = [group["TargetGroupArn"] for group in groups]
        for row in self._balancers.describe_tags(ResourceArns=arns)["TagDescriptions"]:
            tags = {tag["Key"]: tag["Value"] for tag in row["Tags"]}
            if tags.get("mlops:slot") == slot and tags.get("mlops:unit", self.unit) == self.unit:
                return str(row["ResourceArn"])
        raise LoopError(f"no target group is tagged mlops:slot={slot}")


def _is_a_clients(record: Mapping[str, Any]) -> bool:
    """Whether a captured call does not come from the Deploy machine."""
    return nonce_of(record["eventMetadata"].get("inferenceId", "")) is None


class HttpTraffic(Traffic):
    """Clients that send requests continuously. ``refused`` counts errors of the model, ``broken`` those of the connection."""

    def __init__(
        self, loop: EksLoop, rows: Sequence[Mapping[str, object]], prefix: str, whole_every: int | None, pause: float
    ) -> None:
        super().__init__(loop, rows, prefix, whole_every, pause)
        self.broken, self.first_broken = 0, ""
        self._service, self._lock = loop, Lock()
        self._threads = [Thread(target=self._send, args=(number,), daemon=True) for number in range(_THREADS)]

    def start(self) -> None:
        """Start sending."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, after the running calls."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, client: int) -> None:
        number = client
        while not self._stop.is_set():
            start = number * ROWS_PER_CALL % max(1, len(self._rows) - ROWS_PER_CALL)
            is_whole = self._whole_every is not None and number % self._whole_every == 0
            rows = self._rows if is_whole else self._rows[start : start + ROWS_PER_CALL]
            self._count(rows, f"{self._prefix}-{number}")
            number += _THREADS
            self._stop.wait(self._pause)

    def _count(self, rows: Sequence[Mapping[str, object]], name: str) -> None:
        try:
            self._service.predict(rows, name)
        except RefusedError as error:
            with self._lock:
                if error.status == 0 or error.status in _FROM_THE_SHIFT:
                    self.broken += 1
                    self.first_broken = self.first_broken or str(error)
                else:
                    self._refuse()
        else:
            with self._lock:
                self.answered += 1
