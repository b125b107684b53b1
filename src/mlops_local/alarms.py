"""CloudWatch alarms: evaluated every embedded minute as AWS does, with their notifications and events.

What an alarm sees is the exact series of its namespace, name and dimensions. The event's source:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from ministack.core import responses
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch as cw
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from mlops_local import clock, compat, iam_targets
from mlops_local.alarm_rules import COMPARISONS, decide, reason, stamp, statistic

compat.expect(
    "ministack.services.cloudwatch",
    _alarms=object,
    _metrics=object,
    _dims_key="(dims)",
    _p="(params, key, default='')",
    _error="(code, message, status, use_json=False, use_cbor=False)",
    _put_metric_alarm="(params, cbor_data, is_cbor, is_json=False)",
    _evaluate_alarm="(alarm)",
    _dispatch_alarm_actions="(alarm, old_state, new_state, reason)",
    _evaluate_parent_alarms="(child, seen=frozenset())",
    _record_history="(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)",
)
compat.expect("ministack.services.cloudformation.provisioners", _cw_metric_alarm_record="(name, props)")
compat.expect("ministack.services.eventbridge", _put_events="(data, allow_aws_source=False)")

LOGGER = logging.getLogger(__name__)

# datapoints that are retrieved beyond the evaluation periods: AWS's tables show an evaluation range of 5 for 3 periods
_EXTRA = 2
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
_STATE = threading.Lock()
_PREVIOUS: dict[str, dict[str, str]] = {}


def datapoints(alarm: Mapping[str, Any], at: float) -> tuple[list[float | None], float]:
    """Return an alarm's datapoints at a time, oldest first, and when the last of them began.

    Periods end at the last whole minute (ten seconds for a shorter period), as AWS's do.
    """
    period, step = int(alarm["Period"]), _step(alarm)
    end = at // step * step
    count = int(alarm["EvaluationPeriods"]) + _EXTRA
    series: list[list[Mapping[str, Any]]] = [[] for _ in range(count)]
    first = end - count * period
    for point in [point for point in _series(alarm) if first <= point["Timestamp"] < end]:
        if alarm.get("Unit") in {None, "", point.get("Unit")}:
            series[int((point["Timestamp"] - first) // period)].append(point)
    name = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    return [statistic(points, name) if points else None for points in series], end - period


def evaluate(alarm: dict[str, Any], at: float | None = None) -> bool:
    """Evaluate one alarm and, when its state changes, tell its topics, the default bus and its composite alarms.

    Args:
        alarm: MiniStack's record.
        at: Epoch seconds. Default: now.

    Returns:
        Whether its state changed.
    """
    if not alarm.get("MetricName"):
        return False
    points, started = datapoints(alarm, clock.now() if at is None else at)
    breaches, _ = COMPARISONS[alarm["ComparisonOperator"]]
    periods = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    # "alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data"
    missing = "ignore" if alarm["Namespace"] == "AWS/DynamoDB" else alarm.get("TreatMissingData") or "missing"
    state = decide(
        [None if point is None else breaches(point, alarm["Threshold"]) for point in points],
        periods=periods,
        needed=needed,
        missing=missing,
    )
    with _STATE:
        old = alarm["StateValue"]
        if state is None or state == old:
            return False
        now = clock.now()
        why, data = reason(alarm, points, states=(old, state), missing=missing, started=started, now=now)
        alarm.update(StateValue=state, StateReason=why, StateReasonData=data, StateUpdatedTimestamp=int(now))
        alarm["StateTransitionedTimestamp"] = int(now)
    LOGGER.info("alarm %s: %s to %s: %s", alarm["AlarmName"], old, state, why)
    cw._record_history(alarm["AlarmName"], old, state, why)
    cw._dispatch_alarm_actions(alarm, old, state, why)
    cw._evaluate_parent_alarms(alarm)
    return True


def _series(alarm: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []}
    found: Sequence[Mapping[str, Any]] = (
        cw._metrics.get((alarm["Namespace"], alarm["MetricName"], cw._dims_key(dimensions))) or []
    )
    return list(found)


def _step(alarm: Mapping[str, Any]) -> int:
    """Return how often an alarm is looked at: AWS's minute; ten for periods over an hour, whose outcome that hardly moves."""
    period = int(alarm["Period"])
    return 10 if period < 60 else 60 if period <= 3600 else 600


def _event_detail(alarm: Mapping[str, Any], old: str, new: str, why: str) -> dict[str, Any]:
    arn = alarm["AlarmArn"]
    state = {"value": new, "reason": why, "timestamp": stamp(clock.now())}
    if alarm.get("StateReasonData"):
        state["reasonData"] = alarm["StateReasonData"]
    previous = _PREVIOUS.get(arn) or {
        "value": old,
        "timestamp": stamp(alarm.get("AlarmConfigurationUpdatedTimestamp", clock.now())),
    }
    _PREVIOUS[arn] = state
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription") or ""}
    if alarm.get("AlarmRule"):
        configuration["alarmRule"] = alarm["AlarmRule"]
    else:
        metric = {
            "namespace": alarm["Namespace"],
            "name": alarm["MetricName"],
            "dimensions": {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []},
        }
        stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic")
        watched = {"metric": metric, "period": int(alarm["Period"]), "stat": stat}
        configuration["metrics"] = [
            {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, arn)), "metricStat": watched, "returnData": True}
        ]
    return {
        "alarmName": alarm["AlarmName"],
        "configuration": configuration,
        "previousState": {**previous, "value": old},
        "state": state,
    }


def refusal(asked: Callable[[str], Any]) -> str | None:
    """Say what this evaluator does not know of an alarm, or ``None``.

    Args:
        asked: Returns the alarm's parameter of a name, empty when it has none.
    """
    operator, extended = asked("ComparisonOperator"), asked("ExtendedStatistic")
    if asked("Metrics") or asked("ThresholdMetricId"):
        return (
            "alarms on metric math or anomaly detection are not in the embedded cloud; publish the result as a metric"
        )
    if operator and operator not in COMPARISONS:
        return f"ComparisonOperator must be one of {', '.join(COMPARISONS)} in the embedded cloud, got {operator!r}"
    if extended and not (extended[:1] == "p" and extended[1:].replace(".", "", 1).isdigit()):
        return f"ExtendedStatistic must be a percentile such as p99 in the embedded cloud, got {extended!r}"
    if asked("EvaluateLowSampleCountPercentile") == "ignore":
        return "EvaluateLowSampleCountPercentile=ignore is not in the embedded cloud; leave it out"
    return None


class Alarms:
    """All metric alarms, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next minute at which the state of an alarm may change: none once its data have left its range."""
        found = None
        for account, region, alarm in _alarms():
            with _Scope(account, region):
                newest = max(map(itemgetter("Timestamp"), _series(alarm)), default=0.0)
            step, reach = _step(alarm), (int(alarm["EvaluationPeriods"]) + _EXTRA) * int(alarm["Period"])
            touched = max(alarm["AlarmConfigurationUpdatedTimestamp"], alarm["StateUpdatedTimestamp"])
            settled = max(touched, newest) + reach + 2 * step
            following = (after // step + 1) * step
            if following <= settled and (found is None or following < found):
                found = following
        return found

    def run(self, at: float) -> bool:
        """Evaluate every alarm that is looked at in this minute."""
        changed = False
        for account, region, alarm in _alarms():
            if at % _step(alarm) == 0:
                with _Scope(account, region):
                    try:
                        changed = evaluate(alarm, at) or changed
                    except Exception:
                        LOGGER.exception("alarm %s cannot be evaluated", alarm["AlarmName"])
        return changed


class _Scope:
    """The account and region of a thread that serves no request."""

    def __init__(self, account: str, region: str) -> None:
        self._scope = account, region

    def __enter__(self) -> None:
        self._before = get_account_id(), get_region()
        self._enter(*self._scope)

    def __exit__(self, *_: object) -> None:
        self._enter(*self._before)

    @staticmethod
    def _enter(account: str, region: str) -> None:
        responses.set_request_account_id(account)
        responses.set_request_region(region)


def _alarms() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (account, region, alarm)
        for (account, region, _), alarm in list(cw._alarms._data.items())
        if alarm.get("MetricName")
    ]


def install() -> None:
    """Replace MiniStack's evaluation, and add the policy check and the event to its actions."""
    act, put, record = cw._dispatch_alarm_actions, cw._put_metric_alarm, provisioners._cw_metric_alarm_record

    def act_and_tell(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        field = _ACTIONS[new_state]
        allowed = []
        for arn in alarm.get(field) or []:
            refused = iam_targets.refuse_delivery(
                "cloudwatch.amazonaws.com", source_arn=alarm["AlarmArn"], target_arn=arn
            )
            if refused is None:
                allowed.append(arn)
            else:
                LOGGER.warning("alarm %s: action refused: %s", alarm["AlarmName"], refused)
        act({**alarm, field: allowed}, old_state, new_state, reason)
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": "CloudWatch Alarm State Change",
            "Detail": json.dumps(_event_detail(alarm, old_state, new_state, reason)),
            "Resources": [alarm["AlarmArn"]],
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    def put_or_refuse(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        def asked(name: str) -> Any:
            if is_cbor or is_json:
                return cbor_data.get(name)
            return cw._p(params, name) or cw._p(params, f"{name}.member.1.Id")

        problem = refusal(asked)
        if problem is not None:
            return cw._error("ValidationError", problem, 400, use_json=is_json, use_cbor=is_cbor)
        return put(params, cbor_data, is_cbor, is_json)

    def record_or_refuse(name: str, props: dict[str, Any]) -> Any:
        problem = refusal(props.get)
        if problem is not None:
            raise ValueError(f"AWS::CloudWatch::Alarm {name}: {problem}")
        alarm = record(name, props)
        now = int(clock.now())
        alarm["AlarmConfigurationUpdatedTimestamp"] = now  # MiniStack's is real time
        if name not in cw._alarms:
            alarm["StateUpdatedTimestamp"] = now
        return alarm

    cw._evaluate_alarm, cw._dispatch_alarm_actions = evaluate, act_and_tell
    cw._put_metric_alarm, provisioners._cw_metric_alarm_record = put_or_refuse, record_or_refuse
    clock.add_source(Alarms())
    clock.add_guard(lambda: f"{len(_alarms())} alarms exist" if _alarms() else None)
