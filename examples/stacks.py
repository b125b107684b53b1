"""All example stacks, as ``app.py`` deploys them and the compliance harness checks them."""

import aws_cdk as cdk

from examples.first_endpoint import FirstEndpoint
from examples.retail.demand_forecasting.stack import DemandForecasting
from mlops_constructs import ModelImage, Profile


def compose(app: cdk.App) -> None:
    """Define every example stack in an app.

    Args:
        app: Its context names ``image_digest``, the digest of the runtime's image, and ``profile``: ``development``
            (default) or ``production``.
    """
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
    name = app.node.try_get_context("profile")
    profile = Profile.DEVELOPMENT if name is None else Profile(name)
    DemandForecasting(app, "DemandForecasting", image=image, profile=profile)
    FirstEndpoint(app, "FirstEndpoint", image=image)
