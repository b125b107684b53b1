"""The VPC endpoints of each service, by their AWS PrivateLink names without ``com.amazonaws.<region>.``.

Source of the names, read 2026-11-28: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html,
gateway endpoints: https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
"""

# claim: privatelink-service-names
GATEWAYS = ("dynamodb", "s3")

# the embedded cloud's name of a service -> short names, each an endpoint for the whole service; a service that is missing here has
# no endpoint and is reachable through the internet only
_INTERFACES: dict[str, tuple[str, ...]] = {
    "acm": ("acm",),
    "apigateway": ("apigateway",),
    "application-autoscaling": ("application-autoscaling",),
    "athena": ("athena",),
    "cloudformation": ("cloudformation",),
    "codebuild": ("codebuild",),
    "dynamodb": ("dynamodb",),
    "ec2": ("ec2",),
    "ecr": ("ecr.api",),
    "ecs": ("ecs",),
    "eks": ("eks",),
    "elasticfilesystem": ("elasticfilesystem",),
    "elasticloadbalancing": ("elasticloadbalancing",),
    "events": ("events",),
    "firehose": ("kinesis-firehose",),
    "glue": ("glue",),
    "iam": ("iam",),
    "kinesis": ("kinesis-streams",),
    "kms": ("kms",),
    "lambda": ("lambda",),
    "logs": ("logs",),
    "monitoring": ("monitoring",),
    "s3": ("s3",),
    "s3tables": ("s3tables",),
    "sagemaker": ("sagemaker.api",),
    "secretsmanager": ("secretsmanager",),
    "servicequotas": ("servicequotas",),
    "sns": ("sns",),
    "sqs": ("sqs",),
    "ssm": ("ssm",),
    "states": ("states", "sync-states"),
    "sts": ("sts",),
    "tagging": ("tagging",),
    "xray": ("xray",),
}


def names(service: str, path: str, target: str) -> tuple[str, ...]:
    """Return the short names of the interface endpoints for an operation; empty without an endpoint.

    Args:
        service: The embedded cloud's name of the service, ``sagemaker``.
        path: Path of the request.
        target: Its ``X-Amz-Target`` header, empty if missing.

    Example:
        >>> names("sagemaker", "/endpoints/first/invocations", ""), names("sagemaker", "/", "SageMaker.DescribeEndpoint")
        (('sagemaker.runtime',), ('sagemaker.api',))
        >>> names("states", "/", "AWSStepFunctions.StartExecution")
        ('states',)
    """
    if service == "sagemaker" and not target:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/interface-vpc-endpoint.html
        return ("sagemaker.runtime",) if path.startswith("/endpoints/") else ("sagemaker.metrics",)
    found = _INTERFACES.get(service, ())
    if service == "states":
        return found[1:] if target.endswith(".StartSyncExecution") else found[:1]
    return found
