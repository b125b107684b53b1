"""Cached attributes of a stack equal CDK's."""

from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs._stack_values import stack_of, stack_values

ARNS: list[dict[str, Any]] = [
    {"service": "sagemaker", "resource": "endpoint", "resource_name": "demand-*"},
    {"service": "sagemaker", "resource": "*", "arn_format": cdk.ArnFormat.NO_RESOURCE_NAME},
    {"service": "glue", "resource": "catalog"},
    {"service": "s3", "resource": "bucket", "region": "", "account": ""},
    {"service": "logs", "resource": "log-group", "resource_name": "x", "arn_format": cdk.ArnFormat.COLON_RESOURCE_NAME},
]


@pytest.mark.parametrize("environment", [None, cdk.Environment(account="111111111111", region="eu-west-1")])
@pytest.mark.parametrize("parts", ARNS)
def test_an_arn_is_the_one_that_cdk_formats(parts: dict[str, Any], environment: cdk.Environment | None) -> None:
    """Covers stacks with a known environment and with tokens."""
    stack = cdk.Stack(cdk.App(), "Demand", env=environment)

    assert stack.resolve(stack_values(stack).format_arn(**parts)) == stack.resolve(stack.format_arn(**parts))


def test_a_construct_has_the_values_of_its_own_stack() -> None:
    """Covers two stacks of one app in two Regions."""
    app = cdk.App()
    for region in ("eu-west-1", "us-east-1"):
        stack = cdk.Stack(app, region, env=cdk.Environment(account="111111111111", region=region))
        topic = cdk.CfnResource(stack, "Topic", type="AWS::SNS::Topic")

        assert stack_of(topic) is stack
        assert stack_values(topic) is stack_values(stack)
        assert (stack_values(topic).region, stack_values(topic).url_suffix) == (region, stack.url_suffix)
