"""CopyObject that writes only where nothing is, or only over what the caller knows, and makes the hash that the caller asks for.

MiniStack ignores these headers of a copy.

See: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from typing import Any

from ministack.services import s3

from mlops_local import compat

compat.expect(
    "ministack.services.s3",
    _buckets=object,
    _check_put_preconditions="(headers, existing_obj)",
    _copy_object="(bucket_name, dest_key, headers)",
)


def install() -> None:
    """Stand in front of copies with the conditions of other writes."""
    copy = s3._copy_object

    # claim: copies-may-be-conditional
    def copy_where_allowed(bucket: str, key: str, headers: dict[str, str]) -> Any:
        there = s3._buckets.get(bucket, {}).get("objects", {}).get(key)
        refused = s3._check_put_preconditions(headers, there)
        return copy(bucket, key, _with_algorithm(headers)) if refused is None else refused

    s3._copy_object = copy_where_allowed


# claim: copies-have-the-hash-of-the-whole
def _with_algorithm(headers: dict[str, str]) -> dict[str, str]:
    """Return headers that name the copy's checksum as an upload does: MiniStack reads that name alone."""
    algorithm = headers.get("x-amz-checksum-algorithm")
    return headers if algorithm is None else {**headers, "x-amz-sdk-checksum-algorithm": algorithm}
