"""Acknowledged compliance findings of inference APIs, with their reasons."""

from aws_cdk import aws_apigateway as gateway

from mlops_constructs.compliance import acknowledge, acknowledge_family

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


def acknowledge_api(api: gateway.RestApi) -> None:
    """Acknowledge findings of the API and its stage.

    Args:
        api: The API.
    """
    stage = api.deployment_stage
    acknowledge(stage, "AwsSolutions-APIG6", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWExecutionLoggingEnabled", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWCacheEnabledAndEncrypted", _NO_CACHE)
    acknowledge_family(stage, "APIGWSSLEnabled", _NO_CERTIFICATE)


def acknowledge_method(method: gateway.Method, *, signs: bool, is_by_key: bool) -> None:
    """Acknowledge findings of a method without token authorization.

    Args:
        method: The method.
        signs: Whether callers sign with IAM.
        is_by_key: Whether callers only use a key.
    """
    if signs or is_by_key:
        acknowledge(method, "AwsSolutions-COG4", _SIGNED if signs else _KEYED)
    if is_by_key:
        acknowledge(method, "AwsSolutions-APIG4", _KEYED)
