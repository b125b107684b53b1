# /// script
# requires-python = ">=3.11"
# dependencies = ["cfn-lint==1.58.0"]
# ///
"""Write the table of properties whose change replaces their resource, for every CloudFormation type, as used by `mlops plan`.

Run with `uv run --script tools/replacement_table.py .venv/lib/node_modules/aws-cdk`. The pointers are from CloudFormation's
registry schemas, as included in cfn-lint (MIT-0). CloudFormation's documentation, as included in the CDK CLI (Apache-2.0), marks
some more properties as replacing; where the two disagree, the table says that a change may replace the resource.
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
    """Return the pointers of one type, without their common prefix."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    found = {key: {p.removeprefix("/properties/") for p in schema.get(kept, [])} for key, kept in KEPT.items()}
    # the schema takes precedence for a property of which it names a part
    known = {pointer.partition("/")[0] for paths in found.values() for pointer in paths}
    found["conditional"] |= documented - known
    return {key: sorted(paths) for key, paths in found.items() if paths}


def documented_replacements(cli: Path) -> dict[str, set[str]]:
    """Return the properties of each type that replace it, or may replace it, according to the documentation."""
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
    """Write the table, with one type per line."""
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
