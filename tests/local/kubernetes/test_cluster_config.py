"""Endpoints and Auto Mode of clusters: https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html."""

import http.client
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kubernetes.conftest import AUTO_MODE, Caller, sign

from mlops_local.cloud import Cloud

NAMESPACES = "/api/v1/namespaces"
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


@pytest.fixture
def cluster(cloud: Cloud, unique: str, make_role: Any) -> Iterator[Callable[..., str]]:
    """Create a cluster; return its endpoint."""
    eks = cloud.client("eks")

    def make(access: dict[str, Any] | None = None, **options: Any) -> str:
        settings = {"accessConfig": {"authenticationMode": "API"}, **options}
        role = make_role(service="eks.amazonaws.com")
        eks.create_cluster(name=unique, roleArn=role, resourcesVpcConfig=access or {}, **settings)
        return str(eks.describe_cluster(name=unique)["cluster"]["endpoint"])

    yield make
    eks.delete_cluster(name=unique)


def _outside(cloud: Cloud, endpoint: str, name: str) -> Caller:
    return Caller(endpoint, sign(name, cloud.root_keys()))


def _function(cloud: Cloud, name: str, role: str, **options: Any) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("handler.py", "def handler(event, context): return 1")
    code = {"ZipFile": archive.getvalue()}
    cloud.client("lambda").create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="handler.handler", Code=code, **options
    )


@pytest.fixture
def inside(cloud: Cloud, unique: str, make_role: Any) -> Iterator[Callable[[str], Caller]]:
    """The role of a function in a VPC, with an access entry of its own."""
    role = make_role()
    _function(cloud, unique, role, VpcConfig={"SubnetIds": ["subnet-00000001"], "SecurityGroupIds": ["sg-00000001"]})

    def call(endpoint: str) -> Caller:
        eks = cloud.client("eks")
        eks.create_access_entry(clusterName=unique, principalArn=role)
        eks.associate_access_policy(
            clusterName=unique, principalArn=role, policyArn=ADMIN, accessScope={"type": "cluster"}
        )
        keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="function")["Credentials"]
        session = {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }
        return Caller(endpoint, sign(unique, session))

    yield call
    cloud.client("lambda").delete_function(FunctionName=unique)


def test_a_cluster_has_a_public_endpoint_alone_until_somebody_asks(
    cloud: Cloud, cluster: Callable[..., str], inside: Callable[[str], Caller], unique: str
) -> None:
    """VpcConfigRequest: endpointPublicAccess is true and endpointPrivateAccess false by default."""
    endpoint = cluster()
    eks, function = cloud.client("eks"), inside(endpoint)
    settings = eks.describe_cluster(name=unique)["cluster"]["resourcesVpcConfig"]
    assert (settings["endpointPublicAccess"], settings["endpointPrivateAccess"]) == (True, False)
    assert settings["publicAccessCidrs"] == ["0.0.0.0/0"]
    assert _outside(cloud, endpoint, unique).call("GET", NAMESPACES)[0] == 200
    with pytest.raises((OSError, http.client.HTTPException)):
        function.call("GET", NAMESPACES)

    update = eks.update_cluster_config(name=unique, resourcesVpcConfig={"endpointPrivateAccess": True})["update"]

    assert update["type"] == "EndpointAccessUpdate"
    assert eks.describe_update(name=unique, updateId=update["id"])["update"]["status"] == "Successful"
    assert function.call("GET", NAMESPACES)[0] == 200
    assert _outside(cloud, endpoint, unique).call("GET", NAMESPACES)[0] == 200


def test_a_private_cluster_answers_functions_in_a_network_alone(
    cloud: Cloud, cluster: Callable[..., str], inside: Callable[[str], Caller], unique: str
) -> None:
    """VpcConfigRequest: without the public one it "can only receive requests from within the cluster VPC"."""
    endpoint = cluster({"endpointPublicAccess": False, "endpointPrivateAccess": True})

    assert inside(endpoint).call("GET", NAMESPACES)[0] == 200
    with pytest.raises((OSError, http.client.HTTPException)):
        _outside(cloud, endpoint, unique).call("GET", NAMESPACES)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ({"resourcesVpcConfig": {"endpointPublicAccess": False}}, "cannot both be disabled"),
        ({"resourcesVpcConfig": {"endpointPublicAccess": True}}, "already at the desired configuration"),
        ({"computeConfig": {"enabled": True}}, "must all be set to true or all to false"),
        ({"deletionProtection": True}, "deletionProtection cannot be changed in the embedded cloud"),
    ],
)
def test_what_eks_refuses_is_refused(
    cloud: Cloud, cluster: Callable[..., str], unique: str, requested: dict[str, Any], message: str
) -> None:
    """The configuration stays unchanged."""
    cluster()
    before = cloud.client("eks").describe_cluster(name=unique)["cluster"]

    with pytest.raises(ClientError, match=message) as refused:
        cloud.client("eks").update_cluster_config(name=unique, **requested)

    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert cloud.client("eks").describe_cluster(name=unique)["cluster"] == before


def test_auto_mode_is_off_until_it_is_asked_for(cloud: Cloud, cluster: Callable[..., str], unique: str) -> None:
    """It adds its kind of target group binding: https://docs.aws.amazon.com/eks/latest/userguide/automode-learn-alb.html."""
    endpoint = cluster()
    eks, bindings = cloud.client("eks"), "/apis/eks.amazonaws.com/v1/namespaces/default/targetgroupbindings"
    assert "computeConfig" not in eks.describe_cluster(name=unique)["cluster"]
    assert _outside(cloud, endpoint, unique).call("GET", bindings)[0] == 404

    assert eks.update_cluster_config(name=unique, **AUTO_MODE)["update"]["type"] == "AutoModeUpdate"

    assert eks.describe_cluster(name=unique)["cluster"]["computeConfig"]["enabled"] is True
    assert _outside(cloud, endpoint, unique).call("GET", bindings)[0] == 200
