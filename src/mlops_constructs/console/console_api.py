"""The console's API in front of its function: access tokens of its user pool, a web ACL, throttling, an access log and an alarm."""

import json

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from mlops_constructs._unit_resources import define_log_group
from mlops_constructs.compliance import acknowledge, acknowledge_family
from mlops_constructs.console.sign_in import SignIn
from mlops_constructs.inference_api.web_firewall import define_firewall
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.console.http_message import JSON, PROBLEM

STAGE = "live"
_TIMEOUT = cdk.Duration.seconds(29)
# a page sends about ten requests when it opens, then one every three seconds: enough for a dozen people on call
_RATE, _BURST = 50, 100
_LARGEST = cdk.Size.kibibytes(64)  # body size, equal to the function's own limit
_FIVE_MINUTES = cdk.Duration.minutes(5)
_NO_CACHE = (
    "responses depend on a person's role and on the current state in AWS; rejected: a cache, which could return one person's "
    "response to another"
)
_NO_EXECUTION_LOG = (
    "API Gateway creates the group of execution logs itself, without key and retention; the access log has each call with person, "
    "status and cause; rejected: execution logs"
)
_NO_CERTIFICATE = (
    "the integration is Lambda, which is invoked in AWS's own network and does not support client certificates of API Gateway; "
    "rejected: a certificate that would never be sent"
)
# API Gateway's own error responses, in the console's format; the pages distinguish errors by `type`
_ANSWERS = (
    (gateway.ResponseType.UNAUTHORIZED, 401, "not signed in", "the sign-in is missing or has expired; sign in again"),
    (gateway.ResponseType.ACCESS_DENIED, 403, "not allowed", "this sign-in may not use the console"),
    (gateway.ResponseType.WAF_FILTERED, 403, "not allowed", "the request was blocked as an attack, or is over 64 KB"),
    (gateway.ResponseType.MISSING_AUTHENTICATION_TOKEN, 404, "not found", "this path does not exist"),
    (gateway.ResponseType.REQUEST_TOO_LARGE, 413, "too large", "the body must have at most 64 KB"),
    (
        gateway.ResponseType.THROTTLED,
        429,
        "too many requests",
        "the console gets too many requests; wait, then try again",
    ),
    (
        gateway.ResponseType.INTEGRATION_TIMEOUT,
        504,
        "too slow",
        "the console did not respond within 29 seconds; try again",
    ),
    (gateway.ResponseType.INTEGRATION_FAILURE, 502, "failed", "the console failed; see the log of its function"),
    (gateway.ResponseType.DEFAULT_4_XX, None, "refused", "the request was rejected"),
    (gateway.ResponseType.DEFAULT_5_XX, None, "failed", "the request failed; see the console's access log"),
)


def define_api(
    scope: Construct, *, business_unit: IBusinessUnit, function: lambda_.Function, sign_in: SignIn
) -> gateway.RestApi:
    """Define the API: every request under ``/api`` invokes the function, with the claims of the access token."""
    name = f"{business_unit.name}-console"
    log_group = define_log_group(scope, "AccessLog", business_unit=business_unit)
    api = gateway.RestApi(
        scope,
        "Api",
        rest_api_name=name,
        description=f"API of the console of {business_unit.name}",
        endpoint_configuration=gateway.EndpointConfiguration(types=[gateway.EndpointType.REGIONAL]),
        # this setting is per account: one stack would overwrite it for all others
        cloud_watch_role=False,
        deploy_options=gateway.StageOptions(
            stage_name=STAGE,
            tracing_enabled=True,
            metrics_enabled=True,
            data_trace_enabled=False,
            throttling_rate_limit=_RATE,
            throttling_burst_limit=_BURST,
            access_log_destination=gateway.LogGroupLogDestination(log_group),
            access_log_format=gateway.AccessLogFormat.custom(json.dumps(_columns())),
        ),
    )
    authorizer = gateway.CognitoUserPoolsAuthorizer(scope, "Authorizer", cognito_user_pools=[sign_in.pool])
    validator = gateway.RequestValidator(
        scope, "Validator", rest_api=api, validate_request_body=True, validate_request_parameters=True
    )
    api.root.add_resource("api").add_resource("{proxy+}").add_method(
        "ANY",
        gateway.LambdaIntegration(function, timeout=_TIMEOUT, allow_test_invoke=False),
        request_parameters={"method.request.path.proxy": True},
        request_validator=validator,
        authorization_type=gateway.AuthorizationType.COGNITO,
        authorizer=authorizer,
        # claim: gateway-access-tokens-need-scopes
        authorization_scopes=[sign_in.scope.scope_name],
    )
    _define_answers(api)
    stage = api.deployment_stage
    define_firewall(scope, "Firewall", stage_arn=stage.stage_arn, max_body_size=_LARGEST, name=name)
    acknowledge(stage, "AwsSolutions-APIG6", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWExecutionLoggingEnabled", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWCacheEnabledAndEncrypted", _NO_CACHE)
    acknowledge_family(stage, "APIGWSSLEnabled", _NO_CERTIFICATE)
    return api


def define_alarm(scope: Construct, *, business_unit: IBusinessUnit) -> cloudwatch.Alarm:
    """Define the alarm on 5xx responses: the console must work when a person needs to roll back."""
    alarm = cloudwatch.Metric(
        namespace="AWS/ApiGateway",
        metric_name="5XXError",
        dimensions_map={"ApiName": f"{business_unit.name}-console", "Stage": STAGE},
        statistic=cloudwatch.Stats.SUM,
        period=_FIVE_MINUTES,
    ).create_alarm(
        scope,
        "ErrorsAlarm",
        threshold=3,
        evaluation_periods=3,
        datapoints_to_alarm=2,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=(
            f"the console of {business_unit.name} returned at least three 5xx responses in two of three five-minute periods; "
            f"read the "
            "log of its function, and use mlops status and mlops rollback until it works"
        ),
    )
    alarm.add_alarm_action(actions.SnsAction(business_unit.topic))
    return alarm


def _columns() -> dict[str, str]:
    fields = gateway.AccessLogField
    return {
        "id": fields.context_extended_request_id(),
        "time": fields.context_request_time_epoch(),
        "person": fields.context_authorizer_claims("username"),
        "method": fields.context_http_method(),
        "path": fields.context_path(),
        "status": fields.context_status(),
        "cause": fields.context_error_response_type(),
        "milliseconds": fields.context_response_latency(),
        "bytes": fields.context_response_length(),
    }


def _define_answers(api: gateway.RestApi) -> None:
    for kind, status, title, detail in _ANSWERS:
        problem = {"type": f"urn:mlops:problem:{title.replace(' ', '-')}", "title": title, "detail": detail}
        body = json.dumps(problem if status is None else {**problem, "status": status})
        api.add_gateway_response(
            kind.response_type.title().replace("_", ""),
            type=kind,
            status_code=None if status is None else str(status),
            templates={JSON: body},
            response_headers={"Content-Type": f"'{PROBLEM}'"},
        )
