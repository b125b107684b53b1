"""What a deployment would change, from the deployed template, the new one and CloudFormation's resource schemas."""

from mlops_runtime.changes.compare import compare
from mlops_runtime.changes.existing import Existing, NamedResource, named, refusals_of
from mlops_runtime.changes.model import Action, Effect, PropertyChange, ResourceChange, StackChanges
from mlops_runtime.changes.refusal import Refusal, refusals, unused_names
from mlops_runtime.changes.report import document, existing_document, lines
from mlops_runtime.changes.schemas import ResourceSchema, SchemaError, read_schemas

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
    "named",
    "read_schemas",
    "refusals",
    "refusals_of",
    "unused_names",
]
