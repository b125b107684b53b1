"""Buckets of models keep every version."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere

_PATHS = {
    "AWS::SageMaker::Model": ("PrimaryContainer", "Containers"),
    "AWS::SageMaker::ModelPackage": ("InferenceSpecification",),
    "AWS::SageMaker::TrainingJob": ("OutputDataConfig",),
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    places = [text for resource in everywhere(assembly, *_PATHS) for text in _places(resource)]
    for bucket in assembly.of("AWS::S3::Bucket"):
        holds_models = any(f"/{bucket.name}/" in f"{place}/" for place in places)
        if holds_models and bucket.get("VersioningConfiguration.Status") != "Enabled":
            yield violation(bucket, "VersioningConfiguration")


def _places(resource: Resource) -> Iterator[str]:
    """Addresses in what names a model's artefact."""
    waiting = [resource.get(path) for path in _PATHS[resource.type]]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and not any(key.startswith(("Fn::", "Ref")) for key in value):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif value is not None:
            yield resource.text(value)


RULE = Rule(
    id="ModelBucket",
    problem="A bucket of models keeps one version of each object, so that an overwritten artefact is lost.",
    fix="Enable versioning.",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html",
    check=_check,
)
