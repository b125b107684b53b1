"""CloudWatch alarms: evaluated every embedded minute, with notifications and events.

An alarm reads the series with exactly its namespace, name and dimensions. Source of the event:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch as cw
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from mlops_local import alarm_evaluation, clock
from mlops_local.alarm_evaluation import COMPARISONS, decide, reason, stamp
from mlops_local.iam import deliveries
from mlops_local.metric_statistics import extended_problem, statistic
from mlops_local.sagemaker.api_shapes import from_text, model
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)

# datapoints retrieved in addition to the evaluation periods: AWS's tables show an evaluation range of 5 for 3 periods
_EXTRA = 2
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
# fields of an alarm on a single metric; an alarm on Metrics has none of them
_SINGLE = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")
_STATE = threading.Lock()
_PREVIOUS: dict[str, dict[str, str]] = kept_stores.keep(__name__, "_PREVIOUS", {})


# claim: state-set-by-hand-holds-until-evaluated
def datapoints(alarm: Mapping[str, Any], at: float) -> tuple[list[float | None], float]:
    """Return an alarm's datapoints at a time, oldest first, and the start of the last period.

    Periods end at the last whole minute (ten seconds for shorter periods), as in AWS.
    """
    period, step = _period(alarm), _step(alarm)
    end = at // step * step
    first = end - (int(alarm["EvaluationPeriods"]) + _EXTRA) * period

    def of(stat: Mapping[str, Any]) -> list[float | None]:
        series: list[list[Mapping[str, Any]]] = [[] for _ in range(int(end - first) // period)]
        for point in [point for point in _series(stat["Metric"]) if first <= point["Timestamp"] < end]:
            if stat.get("Unit") in {None, "", point.get("Unit")}:
                series[int((point["Timestamp"] - first) // period)].append(point)
        return [statistic(points, stat["Stat"]) if points else None for points in series]

    starts = [first + number * period for number in range(int(end - first) // period)]
    return alarm_evaluation.evaluate(_queries(alarm), of, starts), end - period


def evaluate(alarm: dict[str, Any], at: float | None = None) -> bool:
    """Evaluate one alarm; on a change of state, notify its topics, the default bus and its composite alarms.

    Args:
        alarm: MiniStack's record.
        at: Epoch seconds. Default: now.

    Returns:
        Whether its state changed.
    """
    if not _is_watched(alarm):
        return False
    points, started = datapoints(alarm, clock.now() if at is None else at)
    breaches, _ = COMPARISONS[alarm["ComparisonOperator"]]
    periods = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm") or periods)
    # "alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data"
    missing = "ignore" if alarm.get("Namespace") == "AWS/DynamoDB" else alarm.get("TreatMissingData") or "missing"
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
        shown = {**alarm, "Period": _period(alarm)}
        why, data = reason(shown, points, states=(old, state), missing=missing, started=started, now=now)
        alarm.update(StateValue=state, StateReason=why, StateReasonData=data, StateUpdatedTimestamp=int(now))
        alarm["StateTransitionedTimestamp"] = int(now)
    LOGGER.info("alarm %s: %s to %s: %s", alarm["AlarmName"], old, state, why)
    cw._record_history(alarm["AlarmName"], old, state, why)
    cw._dispatch_alarm_actions(alarm, old, state, why)
    cw._evaluate_parent_alarms(alarm)
    return True


def _is_watched(alarm: Mapping[str, Any]) -> bool:
    return bool(alarm.get("MetricName") or alarm.get("Metrics"))


def _queries(alarm: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return an alarm's ``Metrics``; a single-metric alarm becomes one query."""
    if alarm.get("Metrics"):
        found: Sequence[Mapping[str, Any]] = alarm["Metrics"]
        return found
    stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    return [
        {"Id": "m", "MetricStat": {"Metric": alarm, "Period": alarm["Period"], "Stat": stat, "Unit": alarm.get("Unit")}}
    ]


def _period(alarm: Mapping[str, Any]) -> int:
    return alarm_evaluation.period(_queries(alarm))


def _metrics(alarm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [query["MetricStat"]["Metric"] for query in _queries(alarm) if "MetricStat" in query]


def _series(metric: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    dimensions = _dimensions(metric)
    found: Sequence[Mapping[str, Any]] = (
        cw._metrics.get((metric["Namespace"], metric["MetricName"], cw._dims_key(dimensions))) or []
    )
    return list(found)


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions") or []}


def _step(alarm: Mapping[str, Any]) -> int:
    """Return seconds between evaluations: 60 as in AWS, 10 for shorter periods, 600 for periods over an hour (little to gain)."""
    period = _period(alarm)
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
        shown = [_query_detail(query) for query in _queries(alarm)]
        if not alarm.get("Metrics"):
            shown[0]["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, arn))
        configuration["metrics"] = shown
    return {
        "alarmName": alarm["AlarmName"],
        "configuration": configuration,
        "previousState": {**previous, "value": old},
        "state": state,
    }


def _query_detail(query: Mapping[str, Any]) -> dict[str, Any]:
    detail: dict[str, Any] = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    if "Expression" in query:
        detail["expression"] = query["Expression"]
    else:
        stat = query["MetricStat"]
        metric = {"namespace": stat["Metric"]["Namespace"], "name": stat["Metric"]["MetricName"]}
        detail["metricStat"] = {
            "metric": {**metric, "dimensions": _dimensions(stat["Metric"])},
            "period": int(stat["Period"]),
            "stat": stat["Stat"],
        }
    return detail | ({"label": query["Label"]} if query.get("Label") else {})


def refusal(requested: Callable[[str], Any]) -> str | None:
    """Return what this evaluator does not support of an alarm, given its parameters by name, or ``None``."""
    operator, extended, metrics = requested("ComparisonOperator"), requested("ExtendedStatistic"), requested("Metrics")
    if requested("ThresholdMetricId"):
        return "alarms on anomaly detection are not in the embedded cloud; publish the result as a metric"
    if metrics:
        if isinstance(metrics, str):
            return "Metrics over the query protocol are not in the embedded cloud; use JSON, as SDKs do"
        both = [name for name in _SINGLE if requested(name)]
        wrong = [f"{name} and Metrics exclude each other" for name in both] + alarm_evaluation.problems(metrics)
        if wrong:
            return "; ".join(wrong)
    if operator and operator not in COMPARISONS:
        return f"ComparisonOperator must be one of {', '.join(COMPARISONS)} in the embedded cloud, got {operator!r}"
    problem = extended_problem(extended) if extended else None
    if problem is not None:
        return f"ExtendedStatistic must be {problem}"
    if requested("EvaluateLowSampleCountPercentile") == "ignore":
        return "EvaluateLowSampleCountPercentile=ignore is not in the embedded cloud; leave it out"
    return None


class Alarms:
    """All metric alarms, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next minute in which an alarm's state may change; ``None`` when all data have left the evaluation ranges."""
        found = None
        for account, region, alarm in _alarms():
            with request_scope(account, region):
                points = [point for metric in _metrics(alarm) for point in _series(metric)]
            newest = max(map(itemgetter("Timestamp"), points), default=0.0)
            step, reach = _step(alarm), (int(alarm["EvaluationPeriods"]) + _EXTRA) * _period(alarm)
            touched = max(alarm["AlarmConfigurationUpdatedTimestamp"], alarm["StateUpdatedTimestamp"])
            settled = max(touched, newest) + reach + 2 * step
            following = (after // step + 1) * step
            if following <= settled and (found is None or following < found):
                found = following
        return found

    def run(self, at: float) -> bool:
        """Evaluate every alarm that is due in this minute."""
        changed = False
        for account, region, alarm in _alarms():
            if at % _step(alarm) == 0:
                with request_scope(account, region):
                    try:
                        changed = evaluate(alarm, at) or changed
                    except Exception:
                        LOGGER.exception("alarm %s cannot be evaluated", alarm["AlarmName"])
        return changed


def _watch_metrics(alarm: dict[str, Any], metrics: Sequence[Mapping[str, Any]]) -> None:
    """Turn a MiniStack record into an alarm on metric math."""
    for name in _SINGLE:
        alarm.pop(name, None)
    alarm["Metrics"] = list(metrics)


def _set_or_refuse(set_state: Any, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """SetAlarmState: only valid states; the state lasts until the next evaluation that determines another one."""
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
    # claim: alarms-are-checked-when-put

    def requested(name: str) -> Any:
        return cbor_data.get(name) if is_cbor or is_json else cw._p(params, name)

    state, alarm = requested("StateValue"), cw._alarms.get(requested("AlarmName"))
    if state not in _ACTIONS:
        problem = f"StateValue must be one of {', '.join(_ACTIONS)}, got {state!r}"
        return cw._error("ValidationError", problem, 400, use_json=is_json, use_cbor=is_cbor)
    if alarm is not None:
        alarm.pop("StateReasonData", None)  # of the previous state
        if alarm["StateValue"] != state:
            alarm["StateTransitionedTimestamp"] = int(clock.now())
    return set_state(params, cbor_data, is_cbor, is_json)


def _put_composite_or_refuse(put: Any, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """PutCompositeAlarm; MiniStack would ignore a suppressor silently."""
    # claim: alarms-are-checked-when-put
    suppressor = cbor_data.get("ActionsSuppressor") if is_cbor or is_json else cw._p(params, "ActionsSuppressor")
    if suppressor:
        problem = "ActionsSuppressor is not in the embedded cloud; put the condition into AlarmRule"
        return cw._error("ValidationError", problem, 400, use_json=is_json, use_cbor=is_cbor)
    return put(params, cbor_data, is_cbor, is_json)


def _alarms() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (account, region, alarm) for (account, region, _), alarm in list(cw._alarms._data.items()) if _is_watched(alarm)
    ]


def watched_metrics(namespace: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return account, Region and metric (with dimensions) of everything that alarms read in a namespace."""
    return [
        (account, region, metric)
        for account, region, alarm in _alarms()
        for metric in _metrics(alarm)
        if metric["Namespace"] == namespace
    ]


def install() -> None:
    """Replace MiniStack's evaluation, and add the policy check and the event to its actions."""
    # claim: alarm-changes-reach-topic-and-bus
    act, put, record = cw._dispatch_alarm_actions, cw._put_metric_alarm, provisioners._cw_metric_alarm_record

    def act_and_publish(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        field = _ACTIONS[new_state]
        allowed = []
        for arn in alarm.get(field) or []:
            refused = deliveries.refuse_delivery(
                "cloudwatch.amazonaws.com", source_arn=alarm["AlarmArn"], target_arn=arn
            )
            if refused is None:
                allowed.append(arn)
            else:
                LOGGER.warning("alarm %s: action refused: %s", alarm["AlarmName"], refused)
        period = {"Period": _period(alarm)} if _is_watched(alarm) else {}
        act({**alarm, field: allowed, **period}, old_state, new_state, reason)
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": "CloudWatch Alarm State Change",
            "Detail": json.dumps(_event_detail(alarm, old_state, new_state, reason)),
            "Resources": [alarm["AlarmArn"]],
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    def put_or_refuse(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        # claim: alarms-are-checked-when-put
        def requested(name: str) -> Any:
            if is_cbor or is_json:
                return cbor_data.get(name)
            return cw._p(params, name) or cw._p(params, f"{name}.member.1.Id")

        problem = refusal(requested)
        if problem is not None:
            return cw._error("ValidationError", problem, 400, use_json=is_json, use_cbor=is_cbor)
        answer = put(params, cbor_data, is_cbor, is_json)
        if requested("Metrics") and answer[0] == 200:
            alarm = cw._alarms[cbor_data["AlarmName"]]
            _watch_metrics(alarm, cbor_data["Metrics"])
            evaluate(alarm)
        return answer

    def record_or_refuse(name: str, props: dict[str, Any]) -> Any:
        # claim: alarm-changes-reach-topic-and-bus
        metrics = from_text(model("cloudwatch").shape_for("MetricDataQueries"), props.get("Metrics") or [])
        problem = refusal({**props, "Metrics": metrics}.get)
        if problem is not None:
            raise ValueError(f"AWS::CloudWatch::Alarm {name}: {problem}")
        single = {"MetricName": "-", "Namespace": "-"} if metrics else {}
        alarm = record(name, {**{key: value for key, value in props.items() if key != "Metrics"}, **single})
        if metrics:
            _watch_metrics(alarm, metrics)
        now = int(clock.now())
        alarm["AlarmConfigurationUpdatedTimestamp"] = now  # MiniStack's is real time
        if name not in cw._alarms:
            alarm["StateUpdatedTimestamp"] = now
        return alarm

    cw._evaluate_alarm, cw._dispatch_alarm_actions = evaluate, act_and_publish
    cw._put_composite_alarm = partial(_put_composite_or_refuse, cw._put_composite_alarm)
    cw._set_alarm_state = partial(_set_or_refuse, cw._set_alarm_state)
    cw._put_metric_alarm, provisioners._cw_metric_alarm_record = put_or_refuse, record_or_refuse
    clock.add_source(Alarms())
    clock.add_guard(lambda: f"{len(_alarms())} alarms exist" if _alarms() else None)
