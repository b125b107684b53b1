"""What a deployment would change, from the deployed template, the new one and CloudFormation's resource schemas."""

from mlops_runtime.changes.compare import compare
from mlops_runtime.changes.model import Action, Effect, PropertyChange, ResourceChange, StackChanges
from mlops_runtime.changes.refusal import Refusal, refusals, unused_names
from mlops_runtime.changes.report import document, lines
from mlops_runtime.changes.schemas import ResourceSchema, SchemaError, read_schemas

__all__ = [
    "Action",
    "Effect",
    "PropertyChange",
    "Refusal",
    "ResourceChange",
    "ResourceSchema",
    "SchemaError",
    "StackChanges",
    "compare",
    "document",
    "lines",
    "read_schemas",
    "refusals",
    "unused_names",
]
