"""An alarm on too little fires on nothing at all."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

# services that write no data point where nothing happens
_SILENT = {"AWS/Events", "AWS/Glue", "AWS/Lambda", "AWS/SageMaker", "AWS/States"}

_COUNTS = {"Sum", "SampleCount"}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for alarm in assembly.of("AWS::CloudWatch::Alarm"):
        if not alarm.text(alarm.get("ComparisonOperator")).startswith("LessThan") or not _is_silent(alarm):
            continue
        if alarm.get("TreatMissingData") != "breaching":
            yield violation(alarm, "TreatMissingData")


def _is_silent(alarm: Resource) -> bool:
    """Whether it counts what is not written where nothing happens; a score that falls too low is not a heartbeat."""
    queries = [query.get("MetricStat") or {} for query in alarm.get("Metrics") or ()]
    counted = [query.get("Metric") or {} for query in queries if query.get("Stat") in _COUNTS]
    counted += [alarm.properties] if alarm.get("Statistic") in _COUNTS else []
    namespaces = {alarm.text(metric.get("Namespace")) for metric in counted}
    return any(name in _SILENT or not name.startswith("AWS/") for name in namespaces)


RULE = Rule(
    id="HeartbeatAlarm",
    problem="An alarm on too little does not fire where its source writes nothing at all.",
    fix="Set TreatMissingData to breaching.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html",
    check=_check,
)
