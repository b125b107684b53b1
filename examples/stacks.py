"""All example stacks, as ``app.py`` deploys them and the compliance harness checks them."""

from collections.abc import Sequence

import aws_cdk as cdk

from examples.first_endpoint import FirstEndpoint
from examples.retail.customer_behavior import declaration
from examples.retail.customer_behavior.stack import CustomerBehavior
from examples.retail.demand_forecasting.eks_stack import DemandForecastingOnEks, cluster_attributes
from examples.retail.demand_forecasting.stack import DemandForecasting
from examples.retail.dynamic_pricing.stack import DynamicPricing
from examples.retail.platform_stack import RetailPlatform
from mlops_constructs import ModelImage, Network, Profile

UNITS = ("DemandForecasting", "CustomerBehavior", "DynamicPricing")
STACKS = (*UNITS, "FirstEndpoint")


def compose(app: cdk.App, *, stacks: Sequence[str] | None = None) -> None:
    """Define all or some of the example stacks in an app.

    All share the network of the stack ``RetailPlatform``: an account has five VPCs per Region by default, and each network has
    monthly costs. The CDK deploys that stack first. A stack that is defined alone creates its own network and needs no other stack:
    ``FirstEndpoint`` is priced, deployed, exported and destroyed so (``python app.py FirstEndpoint``). If a platform team shares a
    network with the account, set it in context ``network``, and all stacks use it.

    Args:
        app: Context ``image_digest`` is the digest of the runtime's image, ``profile`` is ``development`` (default) or
            ``production``. Optional are ``zones``, names or number of the shared network's zones (as many as the profile has), and
            ``network`` with ``vpc_id``, ``availability_zones`` and ``subnet_ids``. With ``target`` ``eks`` (default ``sagemaker``)
            the unit ``demand`` serves from a cluster: ``cluster`` has its ``name``, ``security_group_id`` and ``subnet_cidrs``,
            ``certificate`` is the ARN that production requires.
        stacks: Names of the stacks. Default: those in context ``stacks``, else all.

    Raises:
        ValueError: If the target is not one of the two, or a listed stack is unknown.
    """
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=app.node.try_get_context("image_digest"))
    name = app.node.try_get_context("profile")
    profile = Profile.DEVELOPMENT if name is None else Profile(name)
    shared = app.node.try_get_context("network")
    network = None if shared is None else Network.from_shared_vpc(**shared)
    target = app.node.try_get_context("target")
    if target not in (None, "sagemaker", "eks"):
        raise ValueError(f"context target must be 'sagemaker' or 'eks', got {target!r}")
    listed = app.node.try_get_context("stacks") if stacks is None else stacks
    chosen = STACKS if listed is None else tuple(listed)
    unknown = sorted(set(chosen) - set(STACKS))
    if unknown:
        raise ValueError(f"stacks must be among {', '.join(STACKS)}, got {', '.join(map(repr, unknown))}")
    if network is None and len(set(chosen)) > 1:
        services = ("ecr.api", "eks", "elasticloadbalancing") if target == "eks" else ("ecr.api",)
        zones = app.node.try_get_context("zones")
        if zones is None and target == "eks":
            zones = 2  # load balancers require subnets in at least two zones
        network = RetailPlatform(app, "RetailPlatform", profile=profile, zones=zones, services=services).network
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
        digest = app.node.try_get_context("model_image_digest")
        own = ModelImage.from_requirements(declaration.REQUIREMENTS, digest=digest)
        CustomerBehavior(app, "CustomerBehavior", image=own, profile=profile, network=network)
    if "DynamicPricing" in chosen:
        DynamicPricing(app, "DynamicPricing", image=image, profile=profile, network=network)
    if "FirstEndpoint" in chosen:
        FirstEndpoint(app, "FirstEndpoint", image=image, network=network)
