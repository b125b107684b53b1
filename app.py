"""The app of the example stacks; ``cdk.json`` runs it. Names of stacks as arguments compose those alone."""

import sys

import aws_cdk as cdk
from examples.stacks import compose


def main() -> None:
    """Compose the stacks and synthesize."""
    app = cdk.App()
    try:
        compose(app, stacks=sys.argv[1:] or None)
    except ValueError as error:  # one line, without the stack of the program
        sys.exit(f"app.py: {error}")
    app.synth()


main()
