"""State machines on the embedded clock: waits, retries, callbacks and time limits, and what MiniStack does unlike AWS.

Real work is not faster on a scaled clock. Time limits of tasks that work count real seconds, those of callbacks embedded ones, and
a machine's own limit counts embedded time while it waits and real time while it works.

The role of a machine is enforced in ``iam_machines``, which wraps ``_execute_task``, ``_invoke_resource`` and
``_invoke_with_callback``; SageMaker's integrations are registered by ``sagemaker``.
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

from mlops_local import clock, compat

compat.expect(
    "ministack.services.stepfunctions",
    _scaled_sleep="(seconds)",
    _run_execution="(exec_arn)",
    _find_matching_retrier="(retriers, error, retry_counts)",
    _apply_output_path="(state_def, data, ctx=None)",
    _apply_jsonata_output="(state_def, raw_input, ctx=None, result=None, error_output=None, default=None)",
    _state_query_language="(state_def, ctx=None)",
    _invoke_with_callback="(resource, input_data, token, state_def)",
    _register_sfn_jsonata_functions="(expr)",
    _add_event="(execution, event_type, details=None)",
    _emit_execution_status_event="(execution)",
    _fail_execution="(execution, error, cause)",
    _ExecutionError=type,
    _AWS_SDK_SERVICE_MAP=dict,
    _executions=object,
    _state_machines=object,
    _task_tokens=object,
    now_iso="()",
)
compat.expect(
    "ministack.core.concurrency", spawn_background="(fn, *args, thread_name='ministack-background', **kwargs)"
)

# real seconds between two checks of a machine's time limit
_GLANCE = 0.5


# claim: execution-ends-are-events
# claim: task-errors-have-the-services-names
class _Elapsed:
    """How long an execution has run: embedded time while it waits, real time while it works."""

    def __init__(self, execution: dict[str, Any]) -> None:
        self.execution = execution
        self._lock = threading.Lock()
        self._started = time.time()
        self._waits, self._drift, self._extra = 0, 0.0, 0.0

    def is_set(self) -> bool:
        """Whether waits of this execution should stop, as :func:`mlops_local.clock.wait` asks."""
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
    """Let the calling task wait, in embedded seconds, until its execution is stopped.

    Args:
        seconds: Embedded seconds.
    """
    elapsed = _elapsed.get()
    if elapsed is None:
        clock.wait(seconds)
        return
    with elapsed.waiting():
        clock.wait(seconds, stop=elapsed)


def install() -> None:
    """Put state machines on the embedded clock and fix differences from AWS."""
    sfn._scaled_sleep = wait
    # over JSON a response keeps its numbers; MiniStack's XML reading makes strings of them
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
    """End an execution at its machine's ``TimeoutSeconds``: TIMED_OUT with States.Timeout.

    Source: https://states-language.net/spec.html#toplevelfields
    """
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
        return None  # the run itself reports it
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
    """Leave an execution that was stopped or timed out unchanged, however its task ends after that.

    Each execution then tells the default bus of one end:
    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    fail = sfn._fail_execution

    def fail_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    sfn._fail_execution = fail_running


def _delay_retries() -> None:
    """Give retries their whole delay and ``MaxDelaySeconds``; MiniStack knows neither, and retries what was stopped meanwhile.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    find = sfn._find_matching_retrier

    def find_delayed(
        retriers: list[dict[str, Any]], error: str, retry_counts: dict[int, int]
    ) -> tuple[dict[str, Any] | None, int]:
        retrier, index = find(retriers, error, retry_counts)
        if retrier is None:
            return None, index
        delay, elapsed = retry_delay(retrier, retry_counts.get(index, 0)), _elapsed.get()
        if elapsed is None:  # TestState: nothing runs
            return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1.0}, index
        wait(delay)
        return (None if elapsed.is_set() else {**retrier, "IntervalSeconds": 0.0}), index

    sfn._find_matching_retrier = find_delayed


def retry_delay(retrier: dict[str, Any], attempt: int) -> float:
    """Return the embedded seconds before a retry; jitter is left out, so that runs repeat.

    Args:
        retrier: One element of ``Retry``.
        attempt: How many retries it has made before.
    """
    delay = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** attempt
    return min(delay, float(retrier.get("MaxDelaySeconds", delay)))


def _output_of_succeed() -> None:
    """Let a JSONata ``Succeed`` end with its ``Output``; MiniStack ends with the input."""
    apply = sfn._apply_output_path

    def apply_output(state_def: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state_def.get("Type") == "Succeed" and sfn._state_query_language(state_def, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state_def, data, ctx, default=data)
        return apply(state_def, data, ctx)

    sfn._apply_output_path = apply_output


def parse_once(_: Parser, *source: Any) -> Any:
    """Return the tree of a JSONata expression: no evaluation changes it, and a machine evaluates the same ones at every step."""
    return _parsed(*source)


_parse = Parser.parse


@functools.lru_cache(maxsize=1024)
def _parsed(*source: Any) -> Any:
    return _parse(Parser(), *source)


def _jsonata_now() -> None:
    """Let ``$now()`` and ``$millis()`` tell embedded time."""
    register = sfn._register_sfn_jsonata_functions

    def register_with_clock(expr: Any) -> None:
        register(expr)
        now = int(clock.now() * 1000)
        expr.register_lambda("now", lambda picture=None, zone=None: Functions.datetime_from_millis(now, picture, zone))
        expr.register_lambda("millis", lambda: now)

    sfn._register_sfn_jsonata_functions = register_with_clock


def _limit_callbacks() -> None:
    """Count ``TimeoutSeconds`` and ``HeartbeatSeconds`` of ``.waitForTaskToken`` on the embedded clock.

    MiniStack blocks on an event with real seconds: it is made to block forever, and a thread fails the token when the time is up.
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
