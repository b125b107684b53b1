# /// script
# requires-python = ">=3.11"
# dependencies = ["cfn-lint==1.58.0"]
# ///
"""Write which properties replace their resource, for every type of CloudFormation: what `mlops plan` compares with.

Run with `uv run --script tools/replacement_table.py`. The pointers are those of CloudFormation's own registry schemas, as cfn-lint
(MIT-0) ships them.
"""

import json
from importlib.metadata import version
from pathlib import Path

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

TABLE = Path(__file__).parent.parent / "src" / "mlops_cli" / "replacement.json"
KEPT = {"create_only": "createOnlyProperties", "conditional": "conditionalCreateOnlyProperties"}


def pointers(name: str) -> dict[str, list[str]]:
    """Return the pointers of one type, without their common beginning."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    found = {key: sorted(p.removeprefix("/properties/") for p in schema.get(kept, [])) for key, kept in KEPT.items()}
    return {key: paths for key, paths in found.items() if paths}


def main() -> None:
    """Write the table, a type a line."""
    names = sorted(PROVIDER_SCHEMA_MANAGER.get_resource_types("us-east-1"))
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(pointers(name))}" for name in names)
    head = json.dumps({"format": "mlops.replacement/1", "source": f"cfn-lint {version('cfn-lint')}"})
    TABLE.write_text(f'{head[:-1]}, "types": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main()
