"""Changes of a deployment, computed from the deployed template, the new one and CloudFormation's resource schemas."""

from mlops_runtime.changes.comparison import ResourceSchema, SchemaError, compare, read_schemas
from mlops_runtime.changes.existing_resources import Existing, NamedResource, named, refusals_of
from mlops_runtime.changes.plan import (
    Action,
    Effect,
    PropertyChange,
    Refusal,
    ResourceChange,
    StackChanges,
    refusals,
    unused_names,
)
from mlops_runtime.changes.plan_report import document, existing_document, lines, losses

__all__ = [
    "Action",
    "Effect",
    "Existing",
    "NamedResource",
    "PropertyChange",
    "Refusal",
    "ResourceChange",
    "ResourceSchema",
    "SchemaError",
    "StackChanges",
    "compare",
    "document",
    "existing_document",
    "lines",
    "losses",
    "named",
    "read_schemas",
    "refusals",
    "refusals_of",
    "unused_names",
]
