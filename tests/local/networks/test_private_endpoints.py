"""Names of VPC endpoints, against AWS CDK's list."""

import pytest
from aws_cdk import aws_ec2 as ec2

from mlops_local.networks import private_endpoints


def test_every_name_is_one_of_privatelink() -> None:
    """With a misspelt name an operation that AWS allows would fail."""
    services = ec2.InterfaceVpcEndpointAwsService
    wanted = {name for names in private_endpoints._INTERFACES.values() for name in names}
    wanted |= {"sagemaker.runtime", "sagemaker.metrics"}
    known = {getattr(services, member).short_name for member in dir(services) if member.isupper()}

    # on AWS's page, not in CDK's list: https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
    assert wanted - known == {"apigateway", "servicequotas"}


@pytest.mark.parametrize(
    ("service", "path", "target", "names"),
    [
        ("sagemaker", "/", "SageMaker.CreateTrainingJob", ("sagemaker.api",)),
        ("sagemaker", "/endpoints/first/invocations", "", ("sagemaker.runtime",)),
        ("sagemaker", "/BatchPutMetrics", "", ("sagemaker.metrics",)),
        ("states", "/", "AWSStepFunctions.StartExecution", ("states",)),
        ("states", "/", "AWSStepFunctions.StartSyncExecution", ("sync-states",)),
        ("monitoring", "/", "", ("monitoring",)),
        ("servicequotas", "/", "ServiceQuotasV20190624.ListServiceQuotas", ("servicequotas",)),
        ("organizations", "/", "", ()),
    ],
)
def test_an_operation_has_its_endpoints(service: str, path: str, target: str, names: tuple[str, ...]) -> None:
    """Several endpoints share SageMaker's and Step Functions' operations; an unlisted service has none."""
    assert private_endpoints.names(service, path, target) == names
