"""AddTags, ListTags and DeleteTags of any resource that the service knows.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
"""

from mlops_local.sagemaker import store
from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.shapes import Record

_LIMIT = 50  # tags a resource


def add(request: Record) -> Record:
    """AddTags."""
    # claim: resources-have-fifty-tags
    arn = _known(request["ResourceArn"])
    with store.LOCK:
        keys = {tag["Key"] for tag in request["Tags"]} | set(store.store().tags[arn])
        if len(keys) > _LIMIT:
            raise validation(f"a resource has at most {_LIMIT} tags, got {len(keys)}")
        store.set_tags(arn, request["Tags"])
    return {"Tags": _shown(arn)}


def list_(request: Record) -> Record:
    """ListTags, in pages."""
    found = _shown(_known(request["ResourceArn"]))
    start = int(request.get("NextToken", "0"))
    size = request.get("MaxResults", 50)
    rest = {"NextToken": str(start + size)} if len(found) > start + size else {}
    return {"Tags": found[start : start + size]} | rest


def delete(request: Record) -> Record:
    """DeleteTags."""
    arn = _known(request["ResourceArn"])
    with store.LOCK:
        for key in request["TagKeys"]:
            store.store().tags[arn].pop(key, None)
    return {}


def _known(arn: str) -> str:
    # claim: resources-have-fifty-tags
    if arn not in store.store().tags:
        raise validation(f"Could not find resource {arn}.")
    return arn


def _shown(arn: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in store.store().tags[arn].items()]
