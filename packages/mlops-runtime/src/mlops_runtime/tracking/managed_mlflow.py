"""ARNs of a managed MLflow.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/mlflow.html
"""

import re
from collections.abc import Mapping

SERVICE = "sagemaker-mlflow"
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sagemaker:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<kind>mlflow-app|mlflow-tracking-server)/[^/ ]+"
)


def managed_app(uri: str) -> Mapping[str, str] | None:
    """Return partition, region and kind of a managed MLflow from its ARN; None for any other address.

    Example:
        >>> managed_app("arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1")["kind"]
        'mlflow-app'
        >>> managed_app("http://mlflow.internal:5000")
    """
    found = _ARN.fullmatch(uri)
    return None if found is None else found.groupdict()
