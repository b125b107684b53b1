"""The credentials of pods: https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.local.kubernetes.conftest import Caller, path, thing

from mlops_local.cloud import Cloud
from mlops_local.kubernetes import pod_identity

_SCRIPT = """
import boto3, botocore.exceptions, os, time
s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
print(boto3.client("sts").get_caller_identity()["Arn"].split("/")[1], flush=True)
for key in ("mine/a", "other/a"):
    try:
        print(key, s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(), flush=True)
    except botocore.exceptions.ClientError as error:
        print(key, error.response["Error"]["Code"], flush=True)
time.sleep(60)
"""


def _trust(*actions: str, **tags: str) -> dict[str, Any]:
    condition = (
        {"Condition": {"StringEquals": {f"aws:RequestTag/{name}": value for name, value in tags.items()}}}
        if tags
        else {}
    )
    return {"Principal": {"Service": pod_identity.PRINCIPAL}, "Action": list(actions), **condition}


@pytest.fixture
def bucket(cloud: Cloud, unique: str) -> str:
    """A bucket with an own object and a foreign one."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    for key in ("mine/a", "other/a"):
        s3.put_object(Bucket=unique, Key=key, Body=b"content")
    return unique


@pytest.fixture
def run(
    admin: Caller,
    tmp_path: Path,
    deployment: Callable[..., dict[str, Any]],
    wait_for: Callable[..., Any],
    bucket: str,
) -> Callable[..., str]:
    """Run a pod of a service account that reads both objects; return its output, or why it was not created."""
    script = tmp_path / "reader.py"
    script.write_text(_SCRIPT)

    def go(account: str) -> str:
        admin.apply(thing("ServiceAccount", account))
        manifest = deployment(
            account, replicas=1, environment={"BUCKET": bucket}, pod={"serviceAccountName": account},
            container={"command": ["python", str(script)]},
        )  # fmt: skip
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            del manifest["spec"]["template"]["spec"]["containers"][0][probe]
        admin.apply(manifest)

        def reported() -> str:
            for pod in admin.call("GET", f"/api/v1/namespaces/demand/pods?labelSelector=app%3D{account}")[1]["items"]:
                waiting = pod["status"]["containerStatuses"][0]["state"].get("waiting", {})
                if waiting.get("message"):
                    return str(waiting["message"])
                log = str(admin.call("GET", f"/api/v1/namespaces/demand/pods/{pod['metadata']['name']}/log")[1])
                if "other/a" in log:
                    return log
            return ""

        found = str(wait_for(reported))
        admin.call("DELETE", path(manifest))
        return found

    return go


def test_a_pod_reads_what_role_and_session_policy_both_allow(
    cloud: Cloud,
    cluster_name: str,
    make_role: Callable[..., str],
    allow: Callable[..., Any],
    run: Callable[..., str],
    bucket: str,
) -> None:
    """The page of CreatePodIdentityAssociation: the intersection of the role's policies and this policy."""
    role = make_role(allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*"), trust=_trust("sts:AssumeRole"))
    narrow = {"Version": "2012-10-17", "Statement": [allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/mine/*")]}
    requested = {"clusterName": cluster_name, "namespace": "demand", "serviceAccount": "narrow", "roleArn": role}
    cloud.client("eks").create_pod_identity_association(**requested, policy=json.dumps(narrow), disableSessionTags=True)

    lines = run("narrow").splitlines()

    assert lines[-3:] == [role.rpartition("/")[2], "mine/a content", "other/a AccessDenied"]


def test_a_trust_policy_may_name_the_service_account_by_the_session_tags(
    cloud: Cloud,
    cluster_name: str,
    make_role: Callable[..., str],
    allow: Callable[..., Any],
    run: Callable[..., str],
    bucket: str,
) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html: six tags, and sts:TagSession beside sts:AssumeRole."""
    statement = allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    tags = {"kubernetes-service-account": "tagged", "kubernetes-namespace": "demand", "eks-cluster-name": cluster_name}
    role = make_role(statement, trust=_trust("sts:AssumeRole", "sts:TagSession", **tags))
    for account in ("tagged", "stranger"):
        cloud.client("eks").create_pod_identity_association(
            clusterName=cluster_name, namespace="demand", serviceAccount=account, roleArn=role
        )

    assert "mine/a content\nother/a content" in run("tagged")
    assert "may not call sts:AssumeRole" in run("stranger")


def test_a_role_that_does_not_allow_the_tags_is_refused_by_name(
    cloud: Cloud, cluster_name: str, make_role: Callable[..., str], run: Callable[..., str]
) -> None:
    """https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html."""
    role = make_role(trust=_trust("sts:AssumeRole"))
    cloud.client("eks").create_pod_identity_association(
        clusterName=cluster_name, namespace="demand", serviceAccount="untagged", roleArn=role
    )

    assert "may not call sts:TagSession" in run("untagged")


def test_a_chained_role_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected by name instead of using the wrong role."""
    pod = pod_identity.Pod(
        cluster_arn="arn:aws:eks:us-east-1:0:cluster/c", namespace="n", service_account="s", name="p", uid="u"
    )
    monkeypatch.setattr(pod_identity, "association", lambda _: {"targetRoleArn": "arn:aws:iam::1:role/other"})

    with pytest.raises(pod_identity.NoCredentialsError, match="targetRoleArn is not in the embedded cloud"):
        pod_identity.environment(pod)


def test_a_pod_without_an_association_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its AWS calls are unsigned."""
    monkeypatch.setattr(pod_identity, "association", lambda _: None)
    pod = pod_identity.Pod(
        cluster_arn="arn:aws:eks:us-east-1:0:cluster/c", namespace="n", service_account="s", name="p", uid="u"
    )

    assert pod_identity.environment(pod) == {}
    assert set(pod.tags()) == {
        "eks-cluster-arn", "eks-cluster-name", "kubernetes-namespace", "kubernetes-service-account", "kubernetes-pod-name",
        "kubernetes-pod-uid",
    }  # fmt: skip
