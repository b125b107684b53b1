"""All example stacks, as ``app.py`` deploys them and the compliance harness checks them."""

import aws_cdk as cdk

from examples.first_endpoint import FirstEndpoint
from examples.retail.customer_behavior.stack import CustomerBehavior
from examples.retail.demand_forecasting.eks_stack import DemandForecastingOnEks, cluster_attributes
from examples.retail.demand_forecasting.stack import DemandForecasting
from examples.retail.dynamic_pricing.stack import DynamicPricing
from mlops_constructs import ModelImage, Network, Profile

STACKS = ("DemandForecasting", "CustomerBehavior", "DynamicPricing", "FirstEndpoint")


def compose(app: cdk.App) -> None:
    """Define the example stacks in an app: all, or those that context ``stacks`` lists.

    Each unit makes a network of its own, so that it deploys, changes and goes without the others. A network is paid by the month:
    where a platform team shares one with the account, context ``network`` names it and all three units use that one.

    Args:
        app: Its context names ``image_digest``, the digest of the runtime's image, ``profile``: ``development`` (default) or
            ``production``, and perhaps ``network``: ``vpc_id``, ``availability_zones`` and ``subnet_ids``. With ``target`` ``eks``
            (default ``sagemaker``) the unit ``demand`` serves from a cluster: ``cluster`` names it by ``name``,
            ``security_group_id`` and ``subnet_cidrs``, ``certificate`` the ARN that production needs.

    Raises:
        ValueError: If the target is none of the two, or a listed stack is none of these.
    """
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.get_context("image_digest"))
    name = app.node.try_get_context("profile")
    profile = Profile.DEVELOPMENT if name is None else Profile(name)
    shared = app.node.try_get_context("network")
    network = None if shared is None else Network.shared(**shared)
    target = app.node.try_get_context("target")
    if target not in (None, "sagemaker", "eks"):
        raise ValueError(f"context target must be 'sagemaker' or 'eks', got {target!r}")
    listed = app.node.try_get_context("stacks")
    chosen = STACKS if listed is None else tuple(listed)
    unknown = sorted(set(chosen) - set(STACKS))
    if unknown:
        raise ValueError(f"context stacks must be among {', '.join(STACKS)}, got {', '.join(map(repr, unknown))}")
    if "DemandForecasting" in chosen and target == "eks":
        DemandForecastingOnEks(
            app,
            "DemandForecasting",
            image=image,
            profile=profile,
            cluster=cluster_attributes(app.node.try_get_context("cluster")),
            certificate_arn=app.node.try_get_context("certificate"),
            network=network,
        )
    elif "DemandForecasting" in chosen:
        DemandForecasting(app, "DemandForecasting", image=image, profile=profile, network=network)
    if "CustomerBehavior" in chosen:
        CustomerBehavior(app, "CustomerBehavior", image=image, profile=profile, network=network)
    if "DynamicPricing" in chosen:
        DynamicPricing(app, "DynamicPricing", image=image, profile=profile, network=network)
    if "FirstEndpoint" in chosen:
        FirstEndpoint(app, "FirstEndpoint", image=image)
