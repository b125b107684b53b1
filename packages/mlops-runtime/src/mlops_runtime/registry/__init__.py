"""Model packages: the request that registers one, what the registry says about one, and whether its approval counts."""

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
