"""Images of models and jobs are named by what they contain."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere

_IMAGES = {
    "AWS::SageMaker::Model": ("PrimaryContainer.Image", "Containers"),
    "AWS::SageMaker::ModelPackage": ("InferenceSpecification.Containers",),
    "AWS::SageMaker::TrainingJob": ("AlgorithmSpecification.TrainingImage",),
    "AWS::SageMaker::ProcessingJob": ("AppSpecification.ImageUri",),
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for resource in everywhere(assembly, *_IMAGES):
        for path in _IMAGES[resource.type]:
            if any("@sha256:" not in image for image in _images(resource, path)):
                yield violation(resource, path)


def _images(resource: Resource, path: str) -> Iterator[str]:
    found = resource.get(path)
    if not isinstance(found, list):
        yield from [] if found is None else [resource.text(found)]
        return
    yield from (resource.text(one["Image"]) for one in found if isinstance(one, dict) and "Image" in one)


RULE = Rule(
    id="ImageDigest",
    problem="An image is named by a tag, which somebody may move to another image after the approval.",
    fix="Name it by digest: repository@sha256:...; keep the tag for people.",
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html",
    check=_check,
)
