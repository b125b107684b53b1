"""Adapter that checks a candidate against the request promises of its endpoint's APIs, by the signature in its evaluation."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.inference_api.request_promise import broken_promises
from mlops_runtime.refused_calls import NO_OBJECT, Tolerated
from mlops_runtime.rollout.preflight import verified_spec
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def desired_promises(s3: "S3Client", bucket: str, table: RolloutTable) -> tuple[RequestPromise, ...]:
    """Return the request promises of an endpoint's APIs, from its desired spec.

    Raises:
        ContractError: If the desired spec is malformed.
        SpecError: If it was changed after it was stored.
    """
    uri = table.read().desired
    if uri is None:
        return ()
    content = s3.get_object(Bucket=bucket, Key=uri.removeprefix(f"s3://{bucket}/"))["Body"].read()
    return verified_spec(uri, content).promises or ()


def package_promises(
    s3: "S3Client", bucket: str, promises: Sequence[RequestPromise], package: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return why a package's model would reject requests that APIs allow, or why that is unknown; empty if it accepts all.

    Args:
        s3: Client.
        bucket: Artifacts bucket; an evaluation in another bucket is not read.
        promises: Request promises of the serving spec. If empty, nothing is read.
        package: Response of DescribeModelPackage; its hash covers the evaluation.

    Raises:
        ContractError: If its evaluation is malformed.
    """
    if not promises:
        return ()
    metadata = package["CustomerMetadataProperties"]
    uri, root = str(metadata["evaluation_uri"]), f"s3://{bucket}/"
    names = ", ".join(promise.name for promise in promises)
    unknown = f"it is unknown whether the model accepts the requests that {names} allows"
    if not uri.startswith(root):
        return (f"{unknown}: its evaluation is at {uri}, outside of {root}",)
    content = None
    with Tolerated(*NO_OBJECT):
        content = s3.get_object(Bucket=bucket, Key=uri.removeprefix(root))["Body"].read()
    if content is None:
        return (f"{unknown}: {uri} is missing, or belongs to a pipeline of another endpoint",)
    if hashlib.sha256(content).hexdigest() != metadata.get("evaluation_sha256"):
        return (f"{unknown}: {uri} is not the registered evaluation",)
    return tuple(broken_promises(promises, from_json(Evaluation, content).signature))
