"""Manual registration of an evaluated model with another image."""

from dataclasses import replace
from typing import Any

from mlops_runtime.registry.model_package import package_request, read_package


def register_again(sagemaker: Any, package: str, *, image: str) -> str:
    """Register the model of a package with an image of another digest; its evaluation and signature remain the same."""
    described = sagemaker.describe_model_package(ModelPackageName=package)
    spec = replace(read_package(described).spec, image=image)
    return str(sagemaker.create_model_package(**package_request(spec))["ModelPackageArn"])
