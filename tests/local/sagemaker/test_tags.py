"""Tags by boto3."""

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane


def _tags(start: int, end: int) -> list[dict[str, str]]:
    return [{"Key": f"k{number}", "Value": str(number)} for number in range(start, end)]


def test_tags_are_listed_in_pages_and_end_with_their_resource(plane: "Plane") -> None:
    """Fifty tags fit; a page holds what was asked for; the tags go with the resource."""
    made = plane.sagemaker.create_model_package_group(ModelPackageGroupName="tagged", Tags=_tags(0, 2))
    arn = made["ModelPackageGroupArn"]
    assert plane.sagemaker.add_tags(ResourceArn=arn, Tags=[*_tags(2, 50), {"Key": "k0", "Value": "new"}])["Tags"]
    pages = list(
        plane.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig={"PageSize": 50})
    )
    found = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
    assert (len(found), found["k0"], found["k49"]) == (50, "new", "49")
    with pytest.raises(ClientError, match="a resource has at most 50 tags, got 51"):
        plane.sagemaker.add_tags(ResourceArn=arn, Tags=_tags(50, 51))
    plane.sagemaker.delete_model_package_group(ModelPackageGroupName="tagged")
    with pytest.raises(ClientError, match=r"Could not find resource arn:aws:sagemaker:.*/tagged"):
        plane.sagemaker.list_tags(ResourceArn=arn)
