"""Model packages: registration requests, descriptions from the registry, and validity of approvals."""

from mlops_runtime.registry.model_package import (
    PackageError,
    RegisteredPackage,
    container_sha256,
    package_request,
    read_package,
)
from mlops_runtime.registry.package_approval import ApprovalRule, approval_problems, is_automatic

__all__ = [
    "ApprovalRule",
    "PackageError",
    "RegisteredPackage",
    "approval_problems",
    "container_sha256",
    "is_automatic",
    "package_request",
    "read_package",
]
