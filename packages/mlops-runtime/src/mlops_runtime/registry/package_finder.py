"""Finds packages by name, the approval rules of their groups, and the role for a decision."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.registry.package_approval import (
    ApprovalRule,
    RegistryEntry,
    has_role,
    is_registry_parameter,
    registry_parameter,
)
from mlops_runtime.registry.package_registry import Approver, Catalog

LATEST = "latest"
_PACKAGE = re.compile(
    r"(?:arn:[a-z-]+:sagemaker:[a-z0-9-]+:\d{12}:model-package/)?([a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62})/(\d{1,9})"
)


class PackageNotFoundError(ValueError):
    """No package or registry has this name; the message lists the existing ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFinder:
    """The packages of an account and Region."""

    client: Callable[[str], Any]  # returns the client of a service

    @property
    def catalog(self) -> Catalog:
        """Packages by ARN, with their evidence."""
        return Catalog(sagemaker=self.client("sagemaker"), s3=self.client("s3"))

    def registries(self, name: str | None) -> list[RegistryEntry]:
        """Return the registries that stacks have published.

        Args:
            name: Unit or package group. None: all.

        Raises:
            PackageNotFoundError: If no registry is published, or no registry has this name.
        """
        entries = self._published()
        chosen = [entry for entry in entries if name in (None, entry.unit, entry.group)]
        if chosen:
            return chosen
        if not entries:
            raise PackageNotFoundError(
                "no stack has published a model registry; deploy a stack with mlops deploy, or name a package group with --group"
            )
        there_are = ", ".join(f"{entry.unit} ({entry.group})" for entry in entries)
        raise PackageNotFoundError(f"no business unit or package group is named {name!r}; known are: {there_are}")

    def rule(self, group: str) -> ApprovalRule | None:
        """Return a group's rule; None if no stack published it."""
        ssm, denied = self.client("ssm"), None
        # a group's name begins with its unit's, which may contain hyphens
        for match in re.finditer("-", group):
            try:
                answer = ssm.get_parameter(Name=registry_parameter(unit=group[: match.start()], group=group))
            except ssm.exceptions.ParameterNotFound:
                continue
            except ClientError as error:
                denied = error  # perhaps another unit's, with the same prefix
                continue
            return _entry(answer["Parameter"]).rule
        if denied is not None:
            raise denied
        return None

    def described(self, package: str) -> tuple[Mapping[str, Any], ApprovalRule | None]:
        """Return a package's description and the rule of its group.

        Args:
            package: ``<group>/<number>``, its ARN, ``<group>/latest``, or ``latest`` if there is only one group.

        Raises:
            PackageNotFoundError: If the name is malformed or not found.
        """
        if package == LATEST or package.endswith(f"/{LATEST}"):
            package = self._latest(package.rpartition("/")[0] or None)
        match = _PACKAGE.fullmatch(package)
        if match is None:
            raise PackageNotFoundError(
                f"a package is written <group>/<number>, such as demand-forecast/7, or {LATEST}, got {package!r}"
            )
        group = match[1]
        try:
            arn = package if package.startswith("arn:") else self._arn(group, match[2])
            description = self.catalog.describe(arn)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
                raise
            raise PackageNotFoundError(
                f"package {package!r} not found; list packages with: mlops models list"
            ) from error
        return description, self.rule(group)

    def approver(self, caller: str, rule: ApprovalRule | None, role: str | None) -> Approver:
        """Return the approver: the caller if it is in an approver's role or if no role is known, else a session of that role.

        Args:
            caller: ARN of the caller.
            rule: The group's rule.
            role: ARN of the role to assume. None: the first of the rule.
        """
        sagemaker = self.client("sagemaker")
        if role is None and rule is not None and rule.approvers and not has_role(caller, rule.approvers):
            role = rule.approvers[0]
        if role is None:
            return Approver(sagemaker=sagemaker, identity=caller)
        return Approver.in_role(sts=self.client("sts"), sagemaker=sagemaker, role=role, caller=caller)

    def _published(self) -> list[RegistryEntry]:
        pages = self.client("ssm").get_paginator("get_parameters_by_path").paginate(Path="/mlops/", Recursive=True)
        parameters = [parameter for page in pages for parameter in page["Parameters"]]
        return [_entry(parameter) for parameter in parameters if is_registry_parameter(parameter["Name"])]

    def _latest(self, group: str | None) -> str:
        """Return the ARN of the newest package of a group, or of the only group if none is named."""
        groups = [group] if group is not None else [entry.group for entry in self.registries(None)]
        if len(groups) > 1:
            names = ", ".join(f"{each}/{LATEST}" for each in groups)
            raise PackageNotFoundError(f"name the group of the newest package: {names}")
        newest = self.catalog.newest(groups[0], 1)
        if not newest:
            raise PackageNotFoundError(
                f"no package is registered in {groups[0]} yet; register one: mlops train or mlops models register"
            )
        return str(newest[0]["ModelPackageArn"])

    def _arn(self, group: str, number: str) -> str:
        # the group's ARN provides partition, region and account
        answer = self.client("sagemaker").describe_model_package_group(ModelPackageGroupName=group)
        return f"{answer['ModelPackageGroupArn'].replace(':model-package-group/', ':model-package/')}/{int(number)}"


def _entry(parameter: Mapping[str, Any]) -> RegistryEntry:
    try:
        return from_json(RegistryEntry, parameter["Value"])
    except ContractError as error:
        raise PackageNotFoundError(
            f"the parameter {parameter['Name']} cannot be read by this version of mlops: {error}; deploy the stack again"
        ) from error
