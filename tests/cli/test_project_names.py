"""Names that would hide what a generated project imports."""

import pytest

from mlops_cli.project_names import owner


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ("aws_cdk", "aws-cdk-lib"),
        ("mlops_runtime", "mlops-runtime"),
        ("mlops_cli", "mlops-cli"),
        ("mlops_constructs", "mlops-constructs"),  # its distribution would ask for itself
        ("aws_cdk_lib", "aws-cdk-lib"),  # a distribution whose module has another name
        ("cdk_nag", "cdk-nag"),
        ("typing_extensions", "typing-extensions"),  # what is needed of what is needed
        ("pydoc_data", "Python's own pydoc_data"),
    ],
)
def test_a_name_that_is_taken_has_an_owner(package: str, found: str) -> None:
    """A module, a distribution, one of Python's own."""
    owned = owner(package)

    assert owned is not None
    assert owned.replace("_", "-") == found.replace("_", "-")


@pytest.mark.parametrize("package", ["demand_forecast", "mlops_model", "aws_forecast"])
def test_a_name_that_nobody_has_is_free(package: str) -> None:
    """Also one that begins as another does."""
    assert owner(package) is None
