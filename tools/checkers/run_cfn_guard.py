# /// script
# requires-python = ">=3.11"
# dependencies = ["cdklabs-cdk-validator-cfnguard==0.0.62"]
# ///
"""Check templates with cfn-guard and the rules of AWS Control Tower, both from a CDK package.

``uv run --script tools/checkers/run_cfn_guard.py TEMPLATE...`` prints the findings as JSON. Each rule runs only on the resource
types that it names and on the resources they refer to; on all resources it takes several times as long and finds the same.
"""

import importlib.resources
import json
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "cdklabs.cdk_validator_cfnguard._jsii"
_TYPE = re.compile(r"AWS::\w+::\w+")
_SUBSTITUTED = re.compile(r"\$\{(\w+)")
_SYSTEMS = {"Linux": "ubuntu", "Darwin": "macos"}
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_FAILED = 19  # exit code if a template breaks a rule


def main(templates: list[str]) -> None:
    """Unpack the program and its rules, and check the templates."""
    with tempfile.TemporaryDirectory() as folder:
        root = _unpacked(Path(folder))
        program = root / "bin" / _SYSTEMS[platform.system()] / _MACHINES[platform.machine().lower()] / "cfn-guard"
        program.chmod(0o755)
        rules = sorted((root / "rules").rglob("*.guard"))
        by_types = defaultdict[frozenset[str], list[Path]](list)
        for rule in rules:
            by_types[frozenset(_TYPE.findall(rule.read_text()))].append(rule)
        print(json.dumps([found for template in templates for found in _findings(program, by_types, Path(template))]))


def _unpacked(folder: Path) -> Path:
    package = importlib.resources.files(PACKAGE)
    (archive,) = (item for item in package.iterdir() if item.name.endswith(".tgz"))
    with importlib.resources.as_file(archive) as path, tarfile.open(path) as opened:
        opened.extractall(folder, filter="data")
    return folder / "package"


def _findings(program: Path, by_types: dict[frozenset[str], list[Path]], template: Path) -> Iterator[dict[str, str]]:
    whole = json.loads(template.read_text())
    resources = whole["Resources"]
    with tempfile.TemporaryDirectory() as folder:
        read = Path(folder) / template.name
        for types, rules in by_types.items():
            named = {name for name, resource in resources.items() if resource["Type"] in types}
            if named:
                known = named.union(*(_referred(resources[name]) for name in named))
                read.write_text(json.dumps({**whole, "Resources": {n: r for n, r in resources.items() if n in known}}))
                for found in _broken(program, rules, read):
                    yield {**found, "template": str(template)}


def _referred(value: object) -> Iterator[str]:
    """Names in ``Ref``, ``Fn::GetAtt`` and ``Fn::Sub``."""
    if isinstance(value, dict):
        if "Ref" in value:
            yield value["Ref"]
        if "Fn::GetAtt" in value:
            yield value["Fn::GetAtt"][0]
        if "Fn::Sub" in value:
            yield from _SUBSTITUTED.findall(json.dumps(value["Fn::Sub"]))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _referred(item)


def _broken(program: Path, rules: list[Path], template: Path) -> Iterator[dict[str, str]]:
    command = [str(program), "validate", "--data", str(template), "--rules", *map(str, rules)]
    command += ["--output-format", "json", "--show-summary", "none", "--structured"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode not in (0, _FAILED):
        raise SystemExit(f"cfn-guard ended with {result.returncode} on {template}: {result.stderr[-2000:]}")
    for report in json.loads(result.stdout):
        for broken in report["not_compliant"]:
            rule = broken["Rule"]
            for resource in sorted(set(_resources(rule))):
                yield {
                    "rule": rule["name"],
                    "resource": resource,
                    "message": " ".join(next(_messages(rule), "").split()),
                }


def _resources(value: object) -> Iterator[str]:
    """Logical ids of the resources that failed a rule."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and path.startswith("/Resources/"):
            yield path.split("/")[2]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _resources(item)


def _messages(value: object) -> Iterator[str]:
    """Messages of a rule, the outermost first."""
    if isinstance(value, dict) and isinstance(value.get("custom_message"), str):
        yield value["custom_message"]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _messages(item)


if __name__ == "__main__":
    main(sys.argv[1:])
