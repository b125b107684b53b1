"""What checkers find of every API here, and why it is meant so."""

from aws_cdk import aws_apigateway as gateway

from mlops_constructs.compliance import acknowledge, acknowledge_family

_NO_CACHE = (
    "a cache's key holds headers and parameters and never the body, so one caller would get another's prediction, and a hit is no "
    "call that monitors and canaries see; rejected: a cache of any size"
)
_NO_EXECUTION_LOG = (
    "API Gateway makes the group of execution logs itself, without key and retention, and they name ARNs of every refusal; the "
    "access log has each call with status and cause; rejected: execution logs"
)
_NO_CERTIFICATE = (
    "SageMaker is asked in a role over TLS and knows no client certificates of API Gateway; rejected: one that would never "
    "be sent"
)
_SIGNED = (
    "callers are programs that sign with IAM, and grant_predict says who may ask which model; rejected: a user pool of "
    "programs"
)
_KEYED = "DEVELOPMENT alone may be opened by a key, which PRODUCTION refuses; rejected: a user pool for trials"


def acknowledge_api(api: gateway.RestApi) -> None:
    """Acknowledge what is found of the API and its stage.

    Args:
        api: The API.
    """
    stage = api.deployment_stage
    acknowledge(stage, "AwsSolutions-APIG6", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWExecutionLoggingEnabled", _NO_EXECUTION_LOG)
    acknowledge_family(stage, "APIGWCacheEnabledAndEncrypted", _NO_CACHE)
    acknowledge_family(stage, "APIGWSSLEnabled", _NO_CERTIFICATE)


def acknowledge_method(method: gateway.Method, *, signs: bool, is_by_key: bool) -> None:
    """Acknowledge what is found of a method whose callers bring no token.

    Args:
        method: The method.
        signs: Whether they sign with IAM.
        is_by_key: Whether they bring a key alone.
    """
    if signs or is_by_key:
        acknowledge(method, "AwsSolutions-COG4", _SIGNED if signs else _KEYED)
    if is_by_key:
        acknowledge(method, "AwsSolutions-APIG4", _KEYED)
