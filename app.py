"""The example stacks. Context: ``image_digest`` of the runtime's image; ``profile``: ``development`` (default), ``production``."""

import aws_cdk as cdk
from examples.first_endpoint import FirstEndpoint
from examples.retail.demand_forecasting.stack import DemandForecasting

from mlops_constructs import ModelImage, Profile


def main() -> None:
    """Compose the stacks and synthesize."""
    app = cdk.App()
    digest = app.node.get_context("image_digest")
    profile = app.node.try_get_context("profile")
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=digest)
    DemandForecasting(
        app, "DemandForecasting", image=image, profile=Profile.DEVELOPMENT if profile is None else Profile(profile)
    )
    FirstEndpoint(app, "FirstEndpoint", image=image)
    app.synth()


main()
