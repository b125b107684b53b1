"""Metrics that SageMaker publishes of an endpoint, whichever fleet answers.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from typing import Literal, TypedDict

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

Space = Literal["CALLS", "INSTANCES"]
Dimensions = Literal["VARIANT", "ENDPOINT"]
_NAMESPACES: dict[Space, str] = {"CALLS": "AWS/SageMaker", "INSTANCES": "/aws/sagemaker/Endpoints"}


class MetricOptions(TypedDict, total=False):
    """What a caller may change of a metric.

    ``label`` is its name in graphs, ``period`` the time that a value is about, ``statistic`` how it sums up values.
    """

    label: str
    period: cdk.Duration
    statistic: str


class EndpointMetricOptions(MetricOptions, total=False):
    """What a caller may change of a metric that SageMaker publishes by variant too."""

    variant: str


def endpoint_metric(
    endpoint_name: str, metric_name: str, options: EndpointMetricOptions, *, space: Space, dimensions: Dimensions
) -> cloudwatch.Metric:
    """Return a metric of an endpoint; five minutes unless said otherwise.

    Args:
        endpoint_name: The endpoint.
        metric_name: SageMaker's name of the metric.
        options: Label, period, statistic and variant.
        space: Whether it is published of calls or of instances.
        dimensions: Whether it is published by variant or for the endpoint as a whole.
    """
    names = {"EndpointName": endpoint_name}
    if dimensions == "VARIANT":
        names["VariantName"] = options["variant"]
    return cloudwatch.Metric(
        namespace=_NAMESPACES[space],
        metric_name=metric_name,
        dimensions_map=names,
        label=options.get("label"),
        period=options.get("period", cdk.Duration.minutes(5)),
        statistic=options["statistic"],
    )
