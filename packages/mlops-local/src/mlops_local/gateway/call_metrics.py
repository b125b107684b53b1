"""Metrics in ``AWS/ApiGateway``, per request: by API and stage, and by method if the stage enables it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
"""

from collections import Counter
from collections.abc import Mapping

from mlops_local import clients, clock
from mlops_local.gateway.exchange import Exchange
from mlops_local.sagemaker.call_records import Batches

NAMESPACE = "AWS/ApiGateway"
_PERIOD = 60
_VALUES, _DATA = 150, 100  # values per datum and data per request, within PutMetricData's limits
Dimensions = tuple[tuple[str, str], ...]


def count(exchange: Exchange, status: int, seconds: float, integration: float | None) -> None:
    """Count one request.

    Args:
        exchange: The request.
        status: HTTP status of the response.
        seconds: Time from request to response.
        integration: Seconds spent in the integration. Default: the integration was not called.
    """
    minute = int(clock.now()) // _PERIOD * _PERIOD
    for dimensions in _dimensions(exchange):
        for name, value in values(status, seconds, integration).items():
            _BATCHES.add((dimensions, name, minute), value)


def values(status: int, seconds: float, integration: float | None) -> Mapping[str, float]:
    """Return one request's contribution to each metric; latencies in whole milliseconds.

    Example:
        >>> values(504, 0.2, 0.1)
        {'Count': 1.0, '4XXError': 0.0, '5XXError': 1.0, 'Latency': 200.0, 'IntegrationLatency': 100.0}
    """
    # claim: gateway-metrics
    found = {
        "Count": 1.0, "4XXError": float(400 <= status < 500), "5XXError": float(status >= 500),
        "Latency": float(round(seconds * 1000)),
    }  # fmt: skip
    return found if integration is None else {**found, "IntegrationLatency": float(round(integration * 1000))}


def _dimensions(exchange: Exchange) -> list[Dimensions]:
    name, stage = str(exchange.api["name"]), str(exchange.stage["stageName"])
    found: list[Dimensions] = [(("ApiName", name),), (("ApiName", name), ("Stage", stage))]
    path = exchange.resource.get("path")
    settings = exchange.stage.get("methodSettings") or {}
    keys = (f"{str(path).lstrip('/')}/{exchange.method}", f"{path}/{exchange.method}", "*/*")
    chosen: Mapping[str, object] = next((settings[key] for key in keys if key in settings), {})
    if path and chosen.get("metricsEnabled"):
        found.append((("ApiName", name), ("Method", exchange.method), ("Resource", str(path)), ("Stage", stage)))
    return found


def _deliver(batch: dict[tuple[Dimensions, str, int], list[float]]) -> None:
    data = []
    for (dimensions, name, minute), found in batch.items():
        counted = list(Counter(found).items())
        for start in range(0, len(counted), _VALUES):
            part = counted[start : start + _VALUES]
            data.append({
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                "Timestamp": minute,
                "Values": [value for value, _ in part],
                "Counts": [float(times) for _, times in part],
                "Unit": "Milliseconds" if name.endswith("Latency") else "Count",
            })  # fmt: skip
    client = clients.client("cloudwatch")
    for start in range(0, len(data), _DATA):
        client.put_metric_data(Namespace=NAMESPACE, MetricData=data[start : start + _DATA])


_BATCHES: Batches[tuple[Dimensions, str, int], float] = Batches("API metrics", _deliver)
