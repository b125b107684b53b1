"""Adapter: whether a candidate takes what APIs promise of its endpoint, by the signature in its evaluation."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.inference_api.request_promise import broken_promises
from mlops_runtime.rollout.preflight import verified_spec
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GONE = ("NoSuchKey", "AccessDenied")  # S3 returns 403 for a missing object to a caller that may not list


def desired_promises(s3: "S3Client", bucket: str, table: RolloutTable) -> tuple[RequestPromise, ...]:
    """Return what APIs promise of an endpoint, as its stack says now.

    Args:
        s3: Client.
        bucket: Artifacts bucket.
        table: The endpoint's row.

    Raises:
        ContractError: If the desired spec is something else.
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
    """Return why a package's model would refuse requests that APIs allow, or why that cannot be known; nothing if it takes all.

    Args:
        s3: Client.
        bucket: Artifacts bucket; an evaluation anywhere else is not read.
        promises: Those of the serving spec. Without any nothing is read.
        package: As the registry describes it; its hash binds the evaluation that it names.

    Raises:
        ContractError: If its evaluation is something else.
    """
    if not promises:
        return ()
    metadata = package["CustomerMetadataProperties"]
    uri, root = str(metadata["evaluation_uri"]), f"s3://{bucket}/"
    names = ", ".join(promise.name for promise in promises)
    unknown = f"whether the model takes what {names} allows is not known"
    if not uri.startswith(root):
        return (f"{unknown}: its evaluation lies at {uri}, outside of {root}",)
    try:
        content = s3.get_object(Bucket=bucket, Key=uri.removeprefix(root))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return (f"{unknown}: {uri} is missing, or of a pipeline of another endpoint",)
    if hashlib.sha256(content).hexdigest() != metadata.get("evaluation_sha256"):
        return (f"{unknown}: {uri} is not the evaluation that was registered",)
    return tuple(broken_promises(promises, from_json(Evaluation, content).signature))
