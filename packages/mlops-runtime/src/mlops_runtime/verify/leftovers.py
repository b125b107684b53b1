"""Resources that a verification left behind, found only by names and tags, and their removal."""

from collections.abc import Callable, Iterator

from botocore.exceptions import ClientError

from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.verify.account import TAG, Place
from mlops_runtime.verify.problems import CUT_OFF, CheckError

Left = tuple[str, str]
# names in the API of each kind of job; SageMaker keeps the records of ended jobs
_JOBS = {"training-job": "TrainingJob", "transform-job": "TransformJob"}
_RUNNING = ("InProgress", "Stopping")


def find(place: Place) -> list[Left]:
    """Return kind and name of all leftover resources except the lock, in the order of removal."""
    return [*_stacks(place), *beside_the_stack(place), *_buckets(place)]


def beside_the_stack(place: Place) -> list[Left]:
    """Return resources that the unit's machine, SageMaker, Lambda and this command create outside the stack."""
    unit, sagemaker = place.names.unit, place.client("sagemaker")
    found: list[Left] = []
    for kind, operation, key, name in (
        ("endpoint", "list_endpoints", "Endpoints", "EndpointName"),
        ("endpoint-config", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
        ("model", "list_models", "Models", "ModelName"),
    ):
        pages = sagemaker.get_paginator(operation).paginate(NameContains=unit)
        found += [(kind, row[name]) for page in pages for row in page[key] if row[name].startswith(unit)]
    found += _jobs(place)
    pages = place.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=unit)
    found += [("alarm", row["AlarmName"]) for page in pages for row in page["MetricAlarms"]]
    for prefix in (f"/aws/sagemaker/Endpoints/{unit}", f"/aws/lambda/{place.names.stack}"):
        pages = place.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
        found += [("log-group", row["logGroupName"]) for page in pages for row in page["logGroups"]]
    return [*found, *_keys(place)]


def remove(place: Place, left: Left, *, beat: Callable[[], None]) -> None:
    """Remove one resource other than a stack; a missing resource is ignored.

    Raises:
        CheckError: If it cannot be removed.
    """
    kind, name = left
    try:
        if kind == "bucket":
            _remove_bucket(place, name)
        elif kind == "endpoint":
            _remove_endpoint(place, name, beat)
        elif kind == "endpoint-config":
            place.client("sagemaker").delete_endpoint_config(EndpointConfigName=name)
        elif kind == "model":
            place.client("sagemaker").delete_model(ModelName=name)
        elif kind in _JOBS:
            _stop_job(place, kind, name, beat)
        elif kind == "alarm":
            place.client("cloudwatch").delete_alarms(AlarmNames=[name])
        elif kind == "log-group":
            place.client("logs").delete_log_group(logGroupName=name)
        elif kind == "signing-key":
            place.client("kms").schedule_key_deletion(KeyId=name, PendingWindowInDays=7)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code in CUT_OFF:
            raise
        if (
            code not in ("NoSuchBucket", "ResourceNotFoundException", "ResourceNotFound")
            and "Could not find" not in message
        ):
            raise CheckError(f"{kind} {name} could not be removed: {code} {message}") from error


def _stacks(place: Place) -> Iterator[Left]:
    try:
        found = place.client("cloudformation").describe_stacks(StackName=place.names.stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return
        raise
    if found["StackStatus"] != "DELETE_COMPLETE":
        yield "stack", place.names.stack


def _buckets(place: Place) -> Iterator[Left]:
    try:
        place.client("s3").head_bucket(Bucket=place.names.bucket, ExpectedBucketOwner=place.account)
    except ClientError as error:
        if error.response["Error"]["Code"] in CUT_OFF:
            raise
        return  # missing, or another account's
    yield "bucket", place.names.bucket


def _jobs(place: Place) -> Iterator[Left]:
    """Yield running jobs of the unit, which SageMaker accepted against a claim before the run was killed."""
    sagemaker, unit = place.client("sagemaker"), place.names.unit
    for kind, member in _JOBS.items():
        for page in sagemaker.get_paginator(f"list_{kind.replace('-', '_')}s").paginate(NameContains=unit):
            for row in page[f"{member}Summaries"]:
                if row[f"{member}Name"].startswith(unit) and row[f"{member}Status"] in _RUNNING:
                    yield kind, row[f"{member}Name"]


def _keys(place: Place) -> Iterator[Left]:
    """Yield signing keys whose deletion is not scheduled; the unit's own key has the tag too, but is deleted with the stack."""
    kms = place.client("kms")
    pages = (
        place.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": TAG, "Values": [place.names.unit]}], ResourceTypeFilters=["kms:key"])
    )
    for page in pages:
        for row in page["ResourceTagMappingList"]:
            with Tolerated("NotFoundException"):
                key = kms.describe_key(KeyId=row["ResourceARN"])["KeyMetadata"]
                if key["KeySpec"] == "ECC_NIST_P256" and key["KeyState"] != "PendingDeletion":
                    yield "signing-key", key["KeyId"]


def _remove_bucket(place: Place, name: str) -> None:
    s3, owner = place.client("s3"), {"ExpectedBucketOwner": place.account}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name, **owner):
        keys = [{"Key": row["Key"]} for row in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True}, **owner)
    s3.delete_bucket(Bucket=name, **owner)


def at_rest(place: Place, endpoint: str, beat: Callable[[], None]) -> None:
    """Wait until an endpoint is no longer changing, or is deleted."""
    busy = ("Creating", "Updating", "SystemUpdating", "RollingBack")
    place.wait(lambda: None if _status(place, endpoint) in busy else True, f"endpoint {endpoint} at rest", beat=beat)


def _status(place: Place, endpoint: str) -> str | None:
    try:
        return str(place.client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
    except ClientError as error:
        if "Could not find" in str(error):
            return None
        raise


def _remove_endpoint(place: Place, name: str, beat: Callable[[], None]) -> None:
    """Delete an endpoint once it is no longer changing, and wait until it is deleted."""
    at_rest(place, name, beat)
    place.client("sagemaker").delete_endpoint(EndpointName=name)
    place.wait(lambda: True if _status(place, name) is None else None, f"the end of endpoint {name}", beat=beat)


def _stop_job(place: Place, kind: str, name: str, beat: Callable[[], None]) -> None:
    """Stop a job and wait until it has ended."""
    sagemaker, member, verb = place.client("sagemaker"), _JOBS[kind], kind.replace("-", "_")

    def status() -> str:
        return str(getattr(sagemaker, f"describe_{verb}")(**{f"{member}Name": name})[f"{member}Status"])

    if status() == "InProgress":
        getattr(sagemaker, f"stop_{verb}")(**{f"{member}Name": name})
    place.wait(lambda: None if status() in _RUNNING else True, f"the end of {kind} {name}", beat=beat)
