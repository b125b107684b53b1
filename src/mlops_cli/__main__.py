"""Entry point of the command mlops."""


def main() -> None:
    """Run the command."""
