# /// script
# requires-python = ">=3.11"
# dependencies = ["checkov==3.3.30"]
# ///
"""Check templates with checkov: ``uv run --script tools/checkers/run_checkov.py TEMPLATE...`` prints the findings as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path


def main(templates: list[str]) -> None:
    """Run checkov on all templates at once; its exit code only means that there are findings."""
    # checkov searches paths for secrets too: common parent folders are left out
    root = Path(os.path.commonpath([Path(template).resolve().parent.parent for template in templates]))
    names = [str(Path(template).resolve().relative_to(root)) for template in templates]
    files = [option for name in names for option in ("--file", name)]
    # without --skip-download it requests policies from its vendor, for a minute if offline
    options = ["--framework", "cloudformation", "--skip-download", "--quiet", "--compact", "--output", "json"]
    program = Path(sys.executable).with_name("checkov")
    # otherwise it checks for a newer version once an hour
    environment = {**os.environ, "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"}
    command = [str(program), *files, *options]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    report = json.loads(result.stdout)
    if report.get("summary", {}).get("parsing_errors"):
        raise SystemExit(
            f"checkov could not read {report['summary']['parsing_errors']} templates: {result.stderr[-2000:]}"
        )
    findings = [
        {
            "rule": check["check_id"],
            "template": check["repo_file_path"] if "repo_file_path" in check else check["file_path"],
            "resource": check["resource"].rpartition(".")[2],
            "message": check["check_name"],
        }
        for check in report.get("results", {}).get("failed_checks", [])
    ]
    print(json.dumps(findings))


if __name__ == "__main__":
    main(sys.argv[1:])
