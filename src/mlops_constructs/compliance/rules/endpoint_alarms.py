"""Each endpoint has an alarm on failed and one on slow answers."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere

_WORDS = ("error", "latency")


def _check(assembly: Assembly) -> Iterator[Violation]:
    watched = set(_watched(assembly))
    for endpoint in everywhere(assembly, "AWS::SageMaker::Endpoint"):
        for word in _WORDS:
            if (endpoint.name, word) not in watched:
                yield violation(endpoint, "EndpointName", word)


def _watched(assembly: Assembly) -> Iterator[tuple[str, str]]:
    """What each alarm watches: a dimension's value, and what its metric's name tells of."""
    for alarm in assembly.of("AWS::CloudWatch::Alarm"):
        for metric, dimensions in _metrics(alarm):
            for word in _WORDS:
                if word in metric.lower():
                    yield from ((alarm.text(dimension.get("Value")), word) for dimension in dimensions)


def _metrics(alarm: Resource) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Metrics that SageMaker writes itself, alone or in an expression; others are as good as who writes them."""
    queries = [(query.get("MetricStat") or {}).get("Metric") or {} for query in alarm.get("Metrics") or ()]
    for metric in (alarm.properties, *queries):
        if metric.get("Namespace") == "AWS/SageMaker":
            yield alarm.text(metric.get("MetricName")), metric.get("Dimensions") or []


RULE = Rule(
    id="EndpointAlarms",
    problem="No alarm of the app watches this endpoint's failed (error) or slow (latency) answers.",
    fix="Define a CloudWatch alarm with the endpoint's name as a dimension, on Invocation5XXErrors and on ModelLatency.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html",
    check=_check,
)
