"""Registers a model by hand: the model of a package that was measured, in another image."""

from dataclasses import replace
from typing import Any

from mlops_runtime.registry.model_package import package_request, read_package


def register_again(sagemaker: Any, package: str, *, image: str) -> str:
    """Register the model of a package in an image of another digest; what was measured and signed stays what it was."""
    described = sagemaker.describe_model_package(ModelPackageName=package)
    spec = replace(read_package(described).spec, image=image)
    return str(sagemaker.create_model_package(**package_request(spec))["ModelPackageArn"])
