"""Access logs and metrics of requests to an API.

One log line per request, in the stage's format, to a log group or delivery stream; metrics in ``AWS/ApiGateway`` by API and stage,
and by method if the stage enables it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import Any

from mlops_local import clients, clock
from mlops_local.gateway.exchange import Exchange
from mlops_local.sagemaker.batch_delivery import Batches, Dimensions, metric_batches

LOGGER = logging.getLogger(__name__)
_VARIABLE = re.compile(r"\$(?:\{context\.([\w.-]{1,100})\}|context\.([\w.-]{1,100}))")
_EVENTS = 1000  # lines per call, within PutLogEvents' and PutRecordBatch's limits
_RECORDS = 500
NAMESPACE = "AWS/ApiGateway"
_PERIOD = 60


def log_request(exchange: Exchange) -> None:
    """Write the access log line of a request if its stage has access logs."""
    settings: Mapping[str, Any] = exchange.stage.get("accessLogSettings") or {}
    if settings.get("destinationArn"):
        _LINES.add(
            str(settings["destinationArn"]), (clock.now(), line(str(settings.get("format") or ""), exchange.context))
        )


def line(text: str, context: Mapping[str, Any]) -> str:
    """Return a log format with its variables filled in; a variable without a value becomes a hyphen.

    Example:
        >>> line('{"id": "$context.requestId", "who": "$context.identity.user"}', {"requestId": "7", "identity": {}})
        '{"id": "7", "who": "-"}'
    """
    # claim: access-logs-fill-the-format
    return _VARIABLE.sub(lambda found: _value(context, (found[1] or found[2]).rstrip(".")), text)


def _value(context: Mapping[str, Any], name: str) -> str:
    node: Any = context
    for part in name.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    text = "-" if node is None or node == "" else str(node)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")


def _deliver_lines(batch: dict[str, list[tuple[float, str]]]) -> None:
    for destination, lines in batch.items():
        service, name = destination.split(":")[2], destination.removesuffix(":*").rpartition(":")[2]
        try:
            if service == "firehose":
                _to_stream(destination.rpartition("/")[2], [text for _, text in lines])
            else:
                _to_group(name, lines)
        except Exception:  # AWS delivers with best effort: the request still gets its response
            LOGGER.warning("access logs of %s are lost", destination, exc_info=True)


def _to_group(group: str, lines: list[tuple[float, str]]) -> None:
    client, stream = clients.client("logs"), hashlib.sha256(group.encode()).hexdigest()[:32]
    if not client.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)["logStreams"]:
        client.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": int(at * 1000), "message": text} for at, text in lines]
    for start in range(0, len(events), _EVENTS):
        client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events[start : start + _EVENTS])


def _to_stream(name: str, lines: list[str]) -> None:
    records = [{"Data": f"{text}\n".encode()} for text in lines]
    for start in range(0, len(records), _RECORDS):
        clients.client("firehose").put_record_batch(DeliveryStreamName=name, Records=records[start : start + _RECORDS])


_LINES: Batches[str, tuple[float, str]] = Batches("access logs of APIs", _deliver_lines)


def count_request(exchange: Exchange, status: int, seconds: float, integration: float | None) -> None:
    """Count one request, with its seconds, and those in the integration if it was called."""
    minute = int(clock.now()) // _PERIOD * _PERIOD
    for dimensions in _dimensions(exchange):
        for name, value in values(status, seconds, integration).items():
            _METRICS.add((dimensions, name, minute), value)


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


def _unit(name: str) -> str:
    return "Milliseconds" if name.endswith("Latency") else "Count"


_METRICS = metric_batches("API metrics", NAMESPACE, _unit)
