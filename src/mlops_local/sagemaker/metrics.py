"""The endpoint metrics of namespace ``AWS/SageMaker``.

Dimensions are endpoint and variant; once an endpoint has been updated with a blue/green deployment, each fleet also has its own
series with ``EndpointConfigName``, which alarms of the new fleet watch.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html ("Monitor on the new fleet")
"""

from collections import Counter

from mlops_local import clients, clock
from mlops_local.sagemaker.batches import Batches

NAMESPACE = "AWS/SageMaker"
_PERIOD = 60  # seconds; endpoint metrics come at a 1-minute frequency
_UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}
_VALUES = 150  # values a datum, and a safe number of data a request: PutMetricData takes 150 and 1,000
_DATA = 100

Series = tuple[tuple[tuple[str, str], ...], str, int]


def record(endpoint: str, variant: str, config: str | None, *, status: int, model: float, overhead: float) -> None:
    """Count one invocation.

    Args:
        endpoint: Endpoint name.
        variant: Variant that answered.
        config: Endpoint config of its fleet, where series by fleet are wanted.
        status: What the container answered; 0 for no answer.
        model: Seconds that the container took.
        overhead: Seconds that the rest took.
    """
    values = {
        "Invocations": 1.0,
        "Invocation4XXErrors": float(400 <= status < 500),
        "Invocation5XXErrors": float(status >= 500 or status == 0),
        "InvocationModelErrors": float(not 200 <= status < 300),
        "ModelLatency": round(model * 1e6),
        "OverheadLatency": round(overhead * 1e6),
    }
    base = (("EndpointName", endpoint), ("VariantName", variant))
    minute = int(clock.now()) // _PERIOD * _PERIOD
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
