"""The app of the example stacks; ``cdk.json`` runs it."""

import sys

import aws_cdk as cdk
from examples.stacks import compose


def main() -> None:
    """Compose the stacks and synthesize."""
    app = cdk.App()
    try:
        compose(app)
    except ValueError as error:  # one line, without the stack of the program
        sys.exit(f"app.py: {error}")
    app.synth()


main()
