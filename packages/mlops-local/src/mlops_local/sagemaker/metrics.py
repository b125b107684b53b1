"""The endpoint metrics of namespace ``AWS/SageMaker``.

Dimensions are endpoint and variant; once an endpoint has been updated with a blue/green deployment, each fleet also has its own
series with ``EndpointConfigName``, which alarms of the new fleet watch.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html ("Monitor on the new fleet")
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from mlops_local import clients, clock
from mlops_local.sagemaker.batches import Batches

NAMESPACE = "AWS/SageMaker"
# claim: metrics-by-endpoint-config
_PERIOD = 60  # seconds; endpoint metrics come at a 1-minute frequency
_UNITS = {
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "ModelSetupTime": "Microseconds",
    "ApproximateAgeOfOldestRequest": "Seconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
}
_VALUES = 150  # values a datum, and a safe number of data a request: PutMetricData takes 150 and 1,000
_DATA = 100

Series = tuple[tuple[tuple[str, str], ...], str, int]


class Invocation(NamedTuple):
    """One call, as metrics count it.

    Args:
        status: What the container answered; 0 for no answer.
        model: Seconds that the container took.
        overhead: Seconds that the rest took.
        instances: Instances of the variant; 0 for a serverless one.
        setup: Seconds that a serverless variant took to start. Default: it was running, or has instances.
        is_queued: Whether the endpoint is asynchronous, which has other metrics than ``Invocations``. Default: it is not.
    """

    status: int
    model: float
    overhead: float
    instances: int
    setup: float | None = None
    is_queued: bool = False


def record(endpoint: str, variant: str, config: str | None, call: Invocation) -> None:
    """Count one invocation.

    Args:
        endpoint: Endpoint name.
        variant: Variant that answered.
        config: Endpoint config of its fleet, where series by fleet are wanted.
        call: The invocation.
    """
    values = {
        "Invocation4XXErrors": float(400 <= call.status < 500),
        "Invocation5XXErrors": float(call.status >= 500 or call.status == 0),
        "ModelLatency": round(call.model * 1e6),
        "OverheadLatency": round(call.overhead * 1e6),
    }
    # what asynchronous and serverless endpoints publish is listed in their own pages:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
    # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html
    if not call.is_queued:
        values["Invocations"] = 1.0
    if call.instances and not call.is_queued:
        values["InvocationModelErrors"] = float(not 200 <= call.status < 300)
        # "1/numberOfInstances is sent as the value on each request"
        values["InvocationsPerInstance"] = 1.0 / call.instances
    if call.setup is not None:
        values["ModelSetupTime"] = round(call.setup * 1e6)
    publish(endpoint, values, clock.now(), (variant, config))


def publish(endpoint: str, values: Mapping[str, float], at: float, fleet: tuple[str, str | None] | None = None) -> None:
    """Publish values of an endpoint.

    Args:
        endpoint: Endpoint name.
        values: By metric.
        at: A time of the minute that they are of, epoch seconds.
        fleet: Variant, and the endpoint config of its fleet where series by fleet are wanted. Default: the whole endpoint.
    """
    base: tuple[tuple[str, str], ...] = (("EndpointName", endpoint),)
    if fleet is not None:
        base = (*base, ("VariantName", fleet[0]))
    config = None if fleet is None else fleet[1]
    minute = int(at) // _PERIOD * _PERIOD
    for dimensions in [base] if config is None else [base, (*base, ("EndpointConfigName", config))]:
        for name, value in values.items():
            _BATCHES.add((dimensions, name, minute), float(value))


def _deliver(batch: dict[Series, list[float]]) -> None:
    data = []
    for (dimensions, name, minute), values in batch.items():
        counted = list(Counter(values).items())
        for start in range(0, len(counted), _VALUES):
            part = counted[start : start + _VALUES]
            data.append(
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                    "Timestamp": minute,
                    "Values": [value for value, _ in part],
                    "Counts": [float(count) for _, count in part],
                    "Unit": _UNITS.get(name, "None"),
                }
            )
    client = clients.client("cloudwatch")
    for start in range(0, len(data), _DATA):
        client.put_metric_data(Namespace=NAMESPACE, MetricData=data[start : start + _DATA])


_BATCHES: Batches[Series, float] = Batches("endpoint metrics", _deliver)
