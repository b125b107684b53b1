"""Metrics that SageMaker publishes of an endpoint, whichever fleet answers.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from typing import TypedDict, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

NAMESPACE = "AWS/SageMaker"


class MetricOptions(TypedDict, total=False):
    """What a caller may change of a metric."""

    label: str
    period: cdk.Duration
    statistic: str


def endpoint_metric(
    endpoint_name: str, variant: str, metric_name: str, **options: Unpack[MetricOptions]
) -> cloudwatch.Metric:
    """Return a metric of an endpoint's variant; five minutes and the average unless said otherwise."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric_name,
        dimensions_map={"EndpointName": endpoint_name, "VariantName": variant},
        label=options.get("label"),
        period=options.get("period", cdk.Duration.minutes(5)),
        statistic=options.get("statistic", cloudwatch.Stats.AVERAGE),
    )
