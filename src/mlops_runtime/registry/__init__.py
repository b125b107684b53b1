"""Model packages: the request that registers one, and what the registry says about one."""

from mlops_runtime.registry.package import PackageError, RegisteredPackage, package_request, read_package

__all__ = ["PackageError", "RegisteredPackage", "package_request", "read_package"]
