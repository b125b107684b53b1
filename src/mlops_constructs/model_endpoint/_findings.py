"""What ``MlopsChecks`` finds of every endpoint here, and why it is meant so."""

from constructs import IConstruct
from mlops_constructs.compliance import acknowledge
from mlops_runtime.contracts.rollout import ServingSpec

_LATENCY = (
    "the new fleet's latency is compared with the old one's at each rollout, and a monitor counts slow answers against the "
    "serving's own bound; rejected: one threshold for every model, which never fires or always does"
)
_LOGS = (
    "SageMaker makes the endpoint's log group itself and keeps it after the endpoint; rejected: a group of the template, which "
    "could not be created wherever the endpoint has served before, and would fail the stack"
)
_NO_CAPTURE = (
    "the unit asked for no capture, and monitors refuse an endpoint without; rejected: capture by default, which keeps callers' "
    "data without a reader"
)


def acknowledge_endpoint(
    construct: IConstruct, spec: ServingSpec, *, is_expanded: bool, has_latency_alarm: bool
) -> None:
    """Acknowledge what is found of an endpoint.

    Args:
        construct: The scope of the endpoint, its config and its model.
        spec: How it is served.
        is_expanded: Whether it is a serving spec, which the checks expand, or resources of the template.
        has_latency_alarm: Whether an alarm of the template watches the latency that SageMaker measures.
    """

    def found(rule: str, kind: str, detail: str = "") -> str:
        inside = ":".join(part for part in (kind if is_expanded else "", detail) if part)
        return f"Mlops-{rule}[{inside}]" if inside else f"Mlops-{rule}"

    acknowledge(construct, found("LogRetention", "Endpoint", "logs"), _LOGS)
    if not has_latency_alarm:
        acknowledge(construct, found("EndpointAlarms", "Endpoint", "latency"), _LATENCY)
    if spec.capture is None and spec.serverless is None and spec.asynchronous is None:
        acknowledge(construct, found("EndpointDataCapture", "EndpointConfig"), _NO_CAPTURE)
