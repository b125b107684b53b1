# /// script
# requires-python = ">=3.11"
# dependencies = ["cfn-lint==1.58.0"]
# ///
"""Check templates with cfn-lint: ``uv run --script tools/checkers/run_cfn_lint.py TEMPLATE...`` prints the findings as JSON."""

import json
import subprocess
import sys
from pathlib import Path


def main(templates: list[str]) -> None:
    """Run cfn-lint on all templates at once; its exit code only means that there are findings."""
    program = Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--format", "json", "--template", *templates]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = [
        {
            "rule": found["Rule"]["Id"],
            "template": found["Filename"],
            "resource": next(iter(found["Location"]["Path"][1:2]), ""),
            "message": found["Message"],
        }
        for found in json.loads(result.stdout)
    ]
    print(json.dumps(findings))


if __name__ == "__main__":
    main(sys.argv[1:])
