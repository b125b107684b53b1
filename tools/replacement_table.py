# /// script
# requires-python = ">=3.11"
# dependencies = ["cfn-lint==1.58.0"]
# ///
"""Write which properties replace their resource, for every type of CloudFormation: what `mlops plan` compares with.

Run with `uv run --script tools/replacement_table.py .venv/lib/node_modules/aws-cdk`. The pointers are those of CloudFormation's own
registry schemas, as cfn-lint (MIT-0) ships them. CloudFormation's documentation, as the CDK CLI (Apache-2.0) carries it, says of
some more properties that they replace: where the two disagree a property may replace.
"""

import gzip
import json
import sys
from importlib.metadata import version
from pathlib import Path

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

TABLE = Path(__file__).parent.parent / "packages/mlops-cli/src/mlops_cli" / "replacement.json"
KEPT = {"create_only": "createOnlyProperties", "conditional": "conditionalCreateOnlyProperties"}


def pointers(name: str, documented: set[str]) -> dict[str, list[str]]:
    """Return the pointers of one type, without their common beginning."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    found = {key: {p.removeprefix("/properties/") for p in schema.get(kept, [])} for key, kept in KEPT.items()}
    # a property of which the schema names a part is known better there
    known = {pointer.partition("/")[0] for paths in found.values() for pointer in paths}
    found["conditional"] |= documented - known
    return {key: sorted(paths) for key, paths in found.items() if paths}


def documented_replacements(cli: Path) -> dict[str, set[str]]:
    """Return the properties of each type that replace it, or may, as the documentation says."""
    with gzip.open(cli / "db.json.gz") as stream:
        entities = json.load(stream)["schema"]["resource"]["entities"]
    return {
        entity["cloudFormationType"]: {
            name
            for name, definition in entity["properties"].items()
            if definition.get("causesReplacement", "no") != "no"
        }
        for entity in entities
    }


def main(cli: Path) -> None:
    """Write the table, a type a line."""
    documented = documented_replacements(cli)
    names = sorted(PROVIDER_SCHEMA_MANAGER.get_resource_types("us-east-1"))
    rows = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(pointers(name, documented.get(name, set())))}" for name in names
    )
    cli_version = json.loads((cli / "package.json").read_text())["version"]
    source = f"cfn-lint {version('cfn-lint')}, aws-cdk {cli_version}"
    head = json.dumps({"format": "mlops.replacement/1", "source": source})
    TABLE.write_text(f'{head[:-1]}, "types": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
