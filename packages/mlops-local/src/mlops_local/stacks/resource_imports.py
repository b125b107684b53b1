"""Resource imports that CloudFormation supports and MiniStack does not: Glue databases and model package groups.

MiniStack itself rejects types that CloudFormation cannot import, such as ``AWS::Glue::Table``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import glue
from ministack.services.cloudformation import changesets, provisioners

from mlops_local.sagemaker import resource_store

_DATABASE, _GROUP = "AWS::Glue::Database", "AWS::SageMaker::ModelPackageGroup"
_NOT_FOUND = "Resource of type '{type}' with identifier '{value}' was not found."

Adopt = Callable[[dict[str, str]], tuple[str, dict[str, Any]]]


def install() -> None:
    """Register the lookup and adoption of each type; installed after the types themselves."""
    # claim: cloudformation-imports-databases-and-groups
    _register(
        _DATABASE, "DatabaseName", lambda name: name in glue._databases, lambda found: (found["DatabaseName"], {})
    )
    _register(_GROUP, "ModelPackageGroupArn", lambda arn: _group(arn) is not None, _adopt_group)


def _register(resource_type: str, key: str, exists: Callable[[str], bool], adopt: Adopt) -> None:
    def problem(value: str) -> str | None:
        return None if exists(value) else _NOT_FOUND.format(type=resource_type, value=value)

    changesets._IMPORT_LOOKUPS[resource_type] = ((key,), problem)
    provisioners._RESOURCE_HANDLERS[resource_type]["import"] = adopt


def _group(arn: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = resource_store.store().records["ModelPackageGroup"].get(arn.rpartition("/")[2])
    return found


def _adopt_group(identifier: dict[str, str]) -> tuple[str, dict[str, Any]]:
    arn = identifier["ModelPackageGroupArn"]
    return arn, {"ModelPackageGroupArn": arn, "ModelPackageGroupName": arn.rpartition("/")[2]}
