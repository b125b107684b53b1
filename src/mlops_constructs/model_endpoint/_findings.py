"""Acknowledged ``MlopsChecks`` findings of endpoints, with their reasons."""

from constructs import IConstruct
from mlops_constructs.compliance import acknowledge
from mlops_runtime.contracts.rollout import ServingSpec

_LATENCY = (
    "each rollout compares the new fleet's latency with the old one's, and a monitor counts slow responses against the "
    "serving's own bound; rejected: one threshold for every model, which never fires or always does"
)
_LOGS = (
    "SageMaker creates the endpoint's log group and retains it after the endpoint; rejected: a log group in the template, whose "
    "creation would fail wherever the endpoint has existed before"
)
_NO_CAPTURE = (
    "data capture is off by choice, and monitors refuse an endpoint without it; rejected: capture by default, which stores "
    "callers' data that no monitor reads"
)


def acknowledge_endpoint(
    construct: IConstruct, spec: ServingSpec, *, is_expanded: bool, has_latency_alarm: bool
) -> None:
    """Acknowledge the findings of an endpoint.

    Args:
        construct: Scope of the endpoint, its config and its model.
        spec: Serving spec of the endpoint.
        is_expanded: Whether the checks expand the endpoint from its serving spec; otherwise its resources are in the template.
        has_latency_alarm: Whether the template has an alarm on the latency that SageMaker measures.
    """

    def found(rule: str, kind: str, detail: str = "") -> str:
        inside = ":".join(part for part in (kind if is_expanded else "", detail) if part)
        return f"Mlops-{rule}[{inside}]" if inside else f"Mlops-{rule}"

    acknowledge(construct, found("LogRetention", "Endpoint", "logs"), _LOGS)
    if not has_latency_alarm:
        acknowledge(construct, found("EndpointAlarms", "Endpoint", "latency"), _LATENCY)
    if spec.capture is None and spec.serverless is None and spec.asynchronous is None:
        acknowledge(construct, found("EndpointDataCapture", "EndpointConfig"), _NO_CAPTURE)
