"""Which properties of a resource cannot be changed in place, out of CloudFormation's resource schemas.

See: https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = "mlops.replacement/1"


class SchemaError(ValueError):
    """A table of schemas that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSchema:
    """What a change of a property does, for one type.

    Args:
        create_only: Pointers of properties whose change replaces the resource, such as ``KeySchema`` or ``Policies/*/PolicyArn``.
        conditional: Pointers of properties whose change may replace it.
    """

    create_only: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()


def read_schemas(table: Mapping[str, object]) -> dict[str, ResourceSchema]:
    """Return the schema of each type of a table, whose ``types`` are ``{TYPE: {"create_only": [...], "conditional": [...]}}``.

    Args:
        table: The table, parsed.

    Raises:
        SchemaError: If it is no such table.
    """
    types = table.get("types")
    if table.get("format") != FORMAT or not isinstance(types, Mapping):
        raise SchemaError(f"a table of schemas has the format {FORMAT!r} and `types`, got {table.get('format')!r}")
    return {
        name: ResourceSchema(
            create_only=tuple(pointers.get("create_only", ())), conditional=tuple(pointers.get("conditional", ()))
        )
        for name, pointers in types.items()
    }
