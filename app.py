"""The app of the example stacks; ``cdk.json`` runs it."""

import aws_cdk as cdk
from examples.stacks import compose


def main() -> None:
    """Compose the stacks and synthesize."""
    app = cdk.App()
    compose(app)
    app.synth()


main()
