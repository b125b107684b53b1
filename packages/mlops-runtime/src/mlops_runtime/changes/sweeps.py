"""Whether a sweep that leaves a stack empties what it swept: only what goes as well, or is tagged still.

An update takes the tag ``mlops:swept`` from what stays before it deletes the sweep, which then empties nothing.
"""

from collections.abc import Collection, Mapping
from typing import Any

from mlops_runtime.business_unit.sweep import BUCKET, MARK, PACKAGES
from mlops_runtime.changes.template import Template, references

# what each empties, and the property that names it, on both
_SWEPT = {
    BUCKET: ("AWS::S3::Bucket", "BucketName"),
    PACKAGES: ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
}


def empties_nothing(body: Mapping[str, Any], deployed: Template, new: Template, replaced: Collection[str]) -> bool:
    """Return whether a sweep may be deleted without a loss: what it swept stays, and is tagged now and no more then.

    What is not tagged now may be of a library whose sweeper looked at no tag.

    Args:
        body: The sweep as it is deployed.
        deployed: What is deployed.
        new: What would be.
        replaced: Logical ids of what is replaced, perhaps: the old one keeps its tag.
    """
    if body["Type"] not in _SWEPT:
        return False
    kind, key = _SWEPT[body["Type"]]
    named = deployed.properties(body).get(key)
    then = new.resources()
    swept = [
        (name, old)
        for name, old in deployed.resources().items()
        if old["Type"] == kind
        and (name in {other for other, _ in references(named)} or deployed.properties(old).get(key, "") == named)
    ]
    return bool(swept) and all(
        name in then
        and then[name]["Type"] == kind
        and name not in replaced
        and _marked(deployed, old) is True
        and _marked(new, then[name]) is False
        for name, old in swept
    )


def _marked(template: Template, body: Mapping[str, Any]) -> bool | None:
    """Return whether something is tagged, or None where only the deployment knows."""
    tags = template.properties(body).get("Tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, dict) and isinstance(tag.get("Key"), str) for tag in tags):
        return None
    return any(tag["Key"] == MARK for tag in tags)
