"""Recognition of addresses of a managed MLflow."""

import pytest

from mlops_runtime.tracking.managed_mlflow import managed_app


def test_apps_and_tracking_servers_are_named_by_arn() -> None:
    """ARNs of every partition are recognized."""
    app = managed_app("arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1")
    assert app == {"partition": "aws", "region": "eu-west-1", "kind": "mlflow-app"}
    server = managed_app("arn:aws-us-gov:sagemaker:us-gov-west-1:111122223333:mlflow-tracking-server/shop")
    assert server is not None
    assert server["kind"] == "mlflow-tracking-server"


@pytest.mark.parametrize(
    "uri",
    [
        "https://mlflow.shop.example",
        "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/shop",
        "arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/a/b",
        "",
    ],
)
def test_others_are_not(uri: str) -> None:
    """They receive unsigned requests."""
    assert managed_app(uri) is None
