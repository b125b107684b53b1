"""REST API of an inference API: its stage and access log, its alarms on timeouts and 5xx responses, and acknowledged findings."""

import json

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs.compliance import acknowledge, acknowledge_family
from mlops_constructs.model_endpoint.endpoint_alarms import OFTEN_TEXT, define_often_alarm
from mlops_runtime.inference_api.open_api import STAGE

_FIVE_MINUTES = cdk.Duration.minutes(5)
_NO_CACHE = (
    "cache keys contain headers and parameters but never the body, so one caller would get another's prediction, and monitors and "
    "canaries do not see cache hits; rejected: a cache of any size"
)
_NO_EXECUTION_LOG = (
    "API Gateway creates the log group of execution logs itself, without key and retention, and they contain ARNs; the access log "
    "has each call with status and cause; rejected: execution logs"
)
_NO_CERTIFICATE = (
    "API Gateway calls SageMaker over TLS with a role, and SageMaker uses no client certificates; rejected: a certificate that is "
    "never verified"
)
_SIGNED = "callers are programs that sign with IAM, and grant_predict authorizes them per model; rejected: a user pool for programs"
_KEYED = "access by keys alone is only possible in DEVELOPMENT; rejected: a user pool for trials"


def define_rest_api(scope: Construct, id: str, *, name: str, unit: str, log_group: logs.ILogGroup) -> gateway.RestApi:
    """Define the API with its stage, and acknowledge their findings.

    Args:
        scope: Parent construct.
        id: Construct id.
        name: Name of the API.
        log_group: Log group of the access log.
    """
    fields = gateway.AccessLogField
    columns = {
        "id": fields.context_extended_request_id(),
        # chosen by callers that send a UUID as x-amzn-RequestId
        "request": fields.context_request_id(),
        "time": fields.context_request_time_epoch(),
        "method": fields.context_http_method(),
        "path": fields.context_resource_path(),
        "status": fields.context_status(),
        "cause": fields.context_error_response_type(),
        "caller": fields.context_identity_user_arn(),
        "client": fields.context_authorizer_claims("client_id"),
        "key": fields.context_identity_api_key_id(),
        "source": fields.context_identity_source_ip(),
        "milliseconds": fields.context_response_latency(),
        "model_milliseconds": fields.context_integration_latency(),
        "model_status": fields.context_integration_status(),
        "bytes": fields.context_response_length(),
    }
    api = gateway.RestApi(
        scope,
        id,
        rest_api_name=name,
        description=f"Predictions of the models of {unit}",
        endpoint_configuration=gateway.EndpointConfiguration(types=[gateway.EndpointType.REGIONAL]),
        # the role is a setting of the account, which a stack would override for all others
        cloud_watch_role=False,
        binary_media_types=[],
        deploy_options=gateway.StageOptions(
            stage_name=STAGE,
            tracing_enabled=True,
            metrics_enabled=True,
            data_trace_enabled=False,
            access_log_destination=gateway.LogGroupLogDestination(log_group),
            access_log_format=gateway.AccessLogFormat.custom(json.dumps(columns)),
        ),
    )
    stage = api.deployment_stage
    acknowledge(stage, "AwsSolutions-APIG6", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWExecutionLoggingEnabled", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWCacheEnabledAndEncrypted", _NO_CACHE)
    acknowledge_family(stage, "APIGWSSLEnabled", _NO_CERTIFICATE)
    return api


def define_alarms(
    scope: Construct, *, name: str, unit: str, log_group: logs.ILogGroup, topic: sns.ITopic
) -> dict[str, cloudwatch.Alarm]:
    """Define the alarms ``late`` and ``errors``.

    A timeout is worse than an error: the model continues, its response is captured and counted, and the caller retries. API Gateway
    has no metric of timeouts, so a metric filter counts them in the access log.

    Args:
        scope: Parent construct.
        name: Name of the API, the dimension of its metrics.
        log_group: Log group of the access log.
        topic: Topic to notify.
    """
    late = logs.MetricFilter(
        scope,
        "LateFilter",
        log_group=log_group,
        filter_pattern=logs.FilterPattern.number_value("$.status", "=", 504),
        metric_namespace=f"MLOps/{unit}",
        metric_name="ApiLateAnswers",
        metric_value="1",
    ).metric(statistic=cloudwatch.Stats.SUM, period=_FIVE_MINUTES)
    dimensions = {"ApiName": name, "Stage": STAGE}

    def of(metric: str, statistic: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name=metric,
            dimensions_map=dimensions,
            statistic=statistic,
            period=_FIVE_MINUTES,
        )

    timeouts = late.create_alarm(
        scope,
        "LateAlarm",
        threshold=5,
        evaluation_periods=3,
        datapoints_to_alarm=2,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=(
            f"calls of {name} timed out at least 5 times in two of three periods of five minutes, while models go on and "
            "callers retry; read the access log, then send fewer rows per call or increase the model's capacity"
        ),
    )
    timeouts.add_alarm_action(actions.SnsAction(topic))
    errors = define_often_alarm(
        scope,
        "ErrorsAlarm",
        errors=of("5XXError", cloudwatch.Stats.SUM),
        calls=of("Count", cloudwatch.Stats.SUM),
        topic=topic,
        description=(
            f"{name} answered {OFTEN_TEXT}; find the model in the access log and the cause by the alarm of its endpoint"
        ),
    )
    return {"late": timeouts, "errors": errors}


def acknowledge_method(method: gateway.Method, *, signs: bool, is_by_key: bool) -> None:
    """Acknowledge findings of a method without token authorization.

    Args:
        signs: Whether callers sign with IAM.
        is_by_key: Whether callers only use a key.
    """
    if signs or is_by_key:
        acknowledge(method, "AwsSolutions-COG4", _SIGNED if signs else _KEYED)
    if is_by_key:
        acknowledge(method, "AwsSolutions-APIG4", _KEYED)
