"""Calls of gateways to the cloud's own entry point."""

from collections.abc import Callable

import pytest
from tests.local.gateway.conftest import Api, Front

from mlops_local.gateway.service_calls import path_on_the_wire


def test_a_path_is_encoded_as_signatures_want_it() -> None:
    """Once, with slashes unchanged."""
    assert path_on_the_wire("/a b/ü~%2F+") == "/a%20b/%C3%BC~%252F%2B"


@pytest.mark.parametrize("name", ["plain", "with space", "slash%2Fed", "ünïcode", "a+b~c"])
def test_any_name_of_an_object_is_signed(front: Front, make_api: Callable[..., Api], name: str) -> None:
    """The signed address is the one that S3 reads."""
    bucket = f"names{front.api().id}"
    front.cloud.client("s3").create_bucket(Bucket=bucket)
    api = make_api()
    api.method(
        "/put", {"200": {}}, type="AWS", integrationHttpMethod="PUT",
        credentials=front.role({"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}),
        uri=f"arn:aws:apigateway:us-east-1:s3:path/{bucket}/{{key}}",
        requestParameters={"integration.request.path.key": "method.request.body"},
    )  # fmt: skip
    assert api.deploy().call("/put", name.encode()).status == 200
    assert [each["Key"] for each in front.cloud.client("s3").list_objects_v2(Bucket=bucket)["Contents"]] == [name]
