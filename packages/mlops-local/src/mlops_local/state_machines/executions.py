"""State machine executions on the embedded clock: waits, retries, callbacks and time limits; fixes of differences from AWS.

Real work is not faster on a scaled clock: time limits of working tasks count real seconds, those of callbacks embedded seconds, and
a machine's own limit counts embedded time while it waits and real time while it works.

The machine's role is enforced in ``iam.machine_roles``, which wraps ``_execute_task``, ``_invoke_resource`` and
``_invoke_with_callback``; SageMaker's integrations are registered in ``sagemaker``.
"""

import contextvars
import functools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonata.functions import Functions  # type: ignore[import-untyped]  # comes with ministack, without types
from jsonata.parser import Parser  # type: ignore[import-untyped]
from ministack.core.concurrency import spawn_background
from ministack.services import stepfunctions as sfn

from mlops_local import clock

# real seconds between two checks of a machine's time limit
_GLANCE = 0.5


# claim: execution-ends-are-events
# claim: task-errors-have-the-services-names
class _Elapsed:
    """Duration of an execution: embedded time while it waits, real time while it works."""

    def __init__(self, execution: dict[str, Any]) -> None:
        self.execution = execution
        self._lock = threading.Lock()
        self._started = time.time()
        self._waits, self._drift, self._extra = 0, 0.0, 0.0

    def is_set(self) -> bool:
        """Whether waits of this execution should stop; see :func:`mlops_local.clock.wait`."""
        return bool(self.execution["status"] != "RUNNING")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        with self._lock:
            if self._waits == 0:
                self._drift = clock.now() - time.time()
            self._waits += 1
        try:
            yield
        finally:
            with self._lock:
                self._waits -= 1
                if self._waits == 0:
                    self._extra += clock.now() - time.time() - self._drift

    def seconds(self) -> float:
        with self._lock:
            open_wait = clock.now() - time.time() - self._drift if self._waits else 0.0
            return time.time() - self._started + self._extra + open_wait


_elapsed: contextvars.ContextVar[_Elapsed | None] = contextvars.ContextVar("mlops_elapsed", default=None)


def wait(seconds: float) -> None:
    """Make the calling task wait for embedded seconds, at most until its execution is stopped."""
    elapsed = _elapsed.get()
    if elapsed is None:
        clock.wait(seconds)
        return
    with elapsed.waiting():
        clock.wait(seconds, stop=elapsed)


def install() -> None:
    """Put state machines on the embedded clock and fix differences from AWS."""
    sfn._scaled_sleep = wait
    # JSON responses keep numbers; MiniStack's XML parser turns them into strings
    sfn._AWS_SDK_SERVICE_MAP["cloudwatch"] = {
        "target_prefix": "GraniteServiceVersion20100801",
        "protocol": "json",
        "service_key": "monitoring",
    }
    _limit_executions()
    _end_once()
    _delay_retries()
    _output_of_succeed()
    _jsonata_now()
    Parser.parse = parse_once
    _limit_callbacks()
    clock.add_guard(_running)


def _running() -> str | None:
    count = sum(execution.get("status") == "RUNNING" for execution in list(sfn._executions._data.values()))
    return f"{count} executions are running" if count else None


def _limit_executions() -> None:
    """End an execution at its machine's ``TimeoutSeconds`` as TIMED_OUT with States.Timeout."""
    # https://states-language.net/spec.html#toplevelfields
    run = sfn._run_execution

    def run_limited(exec_arn: str) -> None:
        execution = sfn._executions.get(exec_arn)
        if execution is None:
            return
        elapsed = _Elapsed(execution)
        _elapsed.set(elapsed)
        limit = _limit(sfn._state_machines.get(execution["stateMachineArn"]))
        if limit is not None:
            spawn_background(_expire, elapsed, limit, thread_name="execution-limit")
        run(exec_arn)

    sfn._run_execution = run_limited


def _limit(machine: dict[str, Any] | None) -> float | None:
    try:
        limit = json.loads((machine or {}).get("definition", "{}")).get("TimeoutSeconds")
    except ValueError:
        return None  # the execution itself reports it
    return None if limit is None else float(limit)


def _expire(elapsed: _Elapsed, limit: float) -> None:
    execution = elapsed.execution
    while not elapsed.is_set():
        if elapsed.seconds() < limit:
            time.sleep(_GLANCE)
            continue
        cause = f"execution ran longer than {limit} s"
        execution.update(status="TIMED_OUT", stopDate=sfn.now_iso(), error="States.Timeout", cause=cause)
        sfn._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}})
        sfn._emit_execution_status_event(execution)
        clock.wake()


def _end_once() -> None:
    """Leave a stopped or timed-out execution unchanged when its task ends later.

    Each execution then sends a single end event to the default bus:
    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    fail = sfn._fail_execution

    def fail_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    sfn._fail_execution = fail_running


def _delay_retries() -> None:
    """Apply the full delay and ``MaxDelaySeconds`` to retries, and do not retry stopped executions, unlike MiniStack."""
    # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    find = sfn._find_matching_retrier

    def find_delayed(
        retriers: list[dict[str, Any]], error: str, retry_counts: dict[int, int]
    ) -> tuple[dict[str, Any] | None, int]:
        retrier, index = find(retriers, error, retry_counts)
        if retrier is None:
            return None, index
        delay, elapsed = retry_delay(retrier, retry_counts.get(index, 0)), _elapsed.get()
        if elapsed is None:  # TestState: no execution
            return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1.0}, index
        wait(delay)
        return (None if elapsed.is_set() else {**retrier, "IntervalSeconds": 0.0}), index

    sfn._find_matching_retrier = find_delayed


def retry_delay(retrier: dict[str, Any], attempt: int) -> float:
    """Return the embedded seconds before the next retry of a retrier, without jitter, so that executions are reproducible."""
    delay = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** attempt
    return min(delay, float(retrier.get("MaxDelaySeconds", delay)))


def _output_of_succeed() -> None:
    """Make a JSONata ``Succeed`` return its ``Output``; MiniStack returns the input."""
    apply = sfn._apply_output_path

    def apply_output(state_def: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state_def.get("Type") == "Succeed" and sfn._state_query_language(state_def, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state_def, data, ctx, default=data)
        return apply(state_def, data, ctx)

    sfn._apply_output_path = apply_output


def parse_once(_: Parser, *source: Any) -> Any:
    """Return the cached tree of a JSONata expression: evaluation does not change it, and machines evaluate it repeatedly."""
    return _parsed(*source)


_parse = Parser.parse


@functools.lru_cache(maxsize=1024)
def _parsed(*source: Any) -> Any:
    return _parse(Parser(), *source)


def _jsonata_now() -> None:
    """Make ``$now()`` and ``$millis()`` return embedded time."""
    register = sfn._register_sfn_jsonata_functions

    def register_with_clock(expr: Any) -> None:
        register(expr)
        now = int(clock.now() * 1000)
        expr.register_lambda("now", lambda picture=None, zone=None: Functions.datetime_from_millis(now, picture, zone))
        expr.register_lambda("millis", lambda: now)

    sfn._register_sfn_jsonata_functions = register_with_clock


def _limit_callbacks() -> None:
    """Count ``TimeoutSeconds`` and ``HeartbeatSeconds`` of ``.waitForTaskToken`` on the embedded clock.

    MiniStack waits for an event in real seconds: here it waits without a limit, and a thread fails the token at the deadline.
    """
    invoke = sfn._invoke_with_callback

    def invoke_limited(resource: str, input_data: Any, token: str, state_def: dict[str, Any]) -> Any:
        elapsed, done = _elapsed.get(), threading.Event()
        if "TimeoutSeconds" in state_def or "HeartbeatSeconds" in state_def:
            spawn_background(_expire_token, token, state_def, done, thread_name="callback-limit")
        try:
            unlimited = {name: value for name, value in state_def.items() if name != "TimeoutSeconds"}
            if elapsed is None:
                return invoke(resource, input_data, token, unlimited)
            with elapsed.waiting():
                return invoke(resource, input_data, token, unlimited)
        finally:
            done.set()

    sfn._invoke_with_callback = invoke_limited


def _expire_token(token: str, state_def: dict[str, Any], done: threading.Event) -> None:
    started = clock.now()
    while not done.is_set():
        limits = []
        if "TimeoutSeconds" in state_def:
            limit = started + float(state_def["TimeoutSeconds"])
            limits.append((limit, "States.Timeout", "task waited too long for its callback"))
        if "HeartbeatSeconds" in state_def:
            heartbeat = (sfn._task_tokens.get(token) or {}).get("heartbeat")
            last = sfn.datetime.fromisoformat(heartbeat.replace("Z", "+00:00")).timestamp() if heartbeat else started
            limits.append(
                (last + float(state_def["HeartbeatSeconds"]), "States.HeartbeatTimeout", "task sent no heartbeat")
            )
        until, error, cause = min(limits)
        if clock.now() < until:
            clock.wait(until - clock.now(), stop=done)
            continue
        info = sfn._task_tokens.get(token)
        if info is not None:
            info["error"] = {"Error": error, "Cause": cause}
            info["event"].set()
        return
