"""Rules for SageMaker endpoints: alarms, data capture, rollback."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_expression, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere, machines

_WORDS = ("error", "latency")

_PATH = "DeploymentConfig.AutoRollbackConfiguration.Alarms"


def serverless_models(assembly: Assembly) -> frozenset[str]:
    """Return the names of models in serverless variants.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works-exclusions
    """
    return frozenset(
        config.text(variant.get("ModelName"))
        for config in everywhere(assembly, "AWS::SageMaker::EndpointConfig")
        for variant in config.get("ProductionVariants") or ()
        if isinstance(variant, dict) and "ServerlessConfig" in variant
    )


def _endpoint_alarms(assembly: Assembly) -> Iterator[Violation]:
    watched = set(_watched(assembly))
    for endpoint in everywhere(assembly, "AWS::SageMaker::Endpoint"):
        for word in _WORDS:
            if (endpoint.name, word) not in watched:
                yield violation(endpoint, "EndpointName", word)


def _watched(assembly: Assembly) -> Iterator[tuple[str, str]]:
    """Yield a dimension value and the subject of the metric's name for each alarm."""
    for alarm in assembly.of("AWS::CloudWatch::Alarm"):
        for metric, dimensions in _metrics(alarm):
            for word in _WORDS:
                if word in metric.lower():
                    yield from ((alarm.text(dimension.get("Value")), word) for dimension in dimensions)


def _metrics(alarm: Resource) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield the metrics of an alarm that SageMaker itself publishes, alone or in an expression; other metrics are not trusted."""
    queries = [(query.get("MetricStat") or {}).get("Metric") or {} for query in alarm.get("Metrics") or ()]
    for metric in (alarm.properties, *queries):
        if metric.get("Namespace") == "AWS/SageMaker":
            yield alarm.text(metric.get("MetricName")), metric.get("Dimensions") or []


ENDPOINT_ALARMS = Rule(
    id="EndpointAlarms",
    problem="No alarm of the app monitors failed (error) or slow (latency) responses of this endpoint.",
    fix="Define a CloudWatch alarm with the endpoint's name as a dimension, on Invocation5XXErrors and on ModelLatency.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html",
    check=_endpoint_alarms,
)


def _endpoint_data_capture(assembly: Assembly) -> Iterator[Violation]:
    for config in everywhere(assembly, "AWS::SageMaker::EndpointConfig"):
        if _can_capture(config) and not is_true(config.get("DataCaptureConfig.EnableCapture")):
            yield violation(config, "DataCaptureConfig")


def _can_capture(config: Resource) -> bool:
    """Return whether the endpoint supports data capture: serverless and asynchronous endpoints do not."""
    variants = config.get("ProductionVariants")
    is_serverless = isinstance(variants, list) and any("ServerlessConfig" in v for v in variants if isinstance(v, dict))
    return not is_serverless and config.get("AsyncInferenceConfig") is None


ENDPOINT_DATA_CAPTURE = Rule(
    id="EndpointDataCapture",
    problem="The endpoint config captures no data, so drift of its inputs cannot be detected.",
    fix="Set DataCaptureConfig with EnableCapture true, a bucket of the same unit and a KMS key.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
    check=_endpoint_data_capture,
)


def _endpoint_rollback(assembly: Assembly) -> Iterator[Violation]:
    for endpoint in assembly.of("AWS::SageMaker::Endpoint"):
        config = endpoint.target(endpoint.get("EndpointConfigName"))
        variants = [] if config is None else config.get("ProductionVariants") or []
        is_serverless = any("ServerlessConfig" in variant for variant in variants)
        if not is_serverless and not endpoint.get(_PATH):
            yield violation(endpoint, _PATH)
    for machine in machines(assembly):
        for state in machine.tasks():
            if state.call[:2] != ("sagemaker", "updateEndpoint") or is_expression(state.arguments):
                continue
            deployment = state.arguments.get("DeploymentConfig") if isinstance(state.arguments, dict) else None
            rollback = deployment.get("AutoRollbackConfiguration") if isinstance(deployment, dict) else deployment
            if not rollback:
                yield violation(machine.resource, f"States.{state.name}.{_PATH}", state.name)


ENDPOINT_ROLLBACK = Rule(
    id="EndpointRollback",
    problem="An update of the endpoint shifts all traffic without an alarm that rolls it back.",
    fix="Set DeploymentConfig with a canary or rolling policy and AutoRollbackConfiguration.Alarms.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html",
    check=_endpoint_rollback,
)
