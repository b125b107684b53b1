# /// script
# requires-python = ">=3.11"
# dependencies = ["sagemaker-core==2.27.0"]
# ///
"""Write, or check, the table of AWS's prebuilt images, from the SageMaker Python SDK.

``uv run --script tools/image_table.py`` writes it, and ``--check`` compares it with the SDK's registries. ``--retrieve`` resolves
every image with the SDK's function, and one image of each registry in every Region; it imports the whole SDK and takes a minute.
``sagemaker-core`` is the part of SDK 3 with the registries, as JSON files. Excluded: Python 2, Graviton, Inferentia.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONSTRUCTS = Path(__file__).parents[1] / "src" / "mlops_constructs"
TABLE = CONSTRUCTS / "model_registry" / "images.json"
# images of Model Monitor and Clarify, which have a single version: only the accounts by Region
MONITORS_TABLE = CONSTRUCTS / "model_monitor" / "sagemaker_images.json"
MONITORS = {"analyzer": ("model-monitor", None), "clarify": ("clarify", "1.0")}
PACKAGE = "sagemaker-core"
FRAMEWORKS = ("pytorch", "sklearn", "tensorflow", "xgboost")
USES = ("inference", "training")
REGION = "us-east-1"
# a version without a patch or build number is a moving tag
_FULL_VERSION = re.compile(r"\d+\.\d+(\.\d+|-\d+)(-\w+)*")
# the SDK derives the processor from the instance type
_INSTANCES = {"cpu": "ml.m5.large", "gpu": "ml.p3.2xlarge"}


def table() -> dict[str, Any]:
    """Return the table: registries by name (region to account), and images by framework and version."""
    registries: dict[str, dict[str, str]] = {}
    images: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for framework in FRAMEWORKS:
        versions: dict[str, list[dict[str, Any]]] = {}
        for use, version, row, accounts in _rows(framework):
            row["registry"] = _registry_name(registries, accounts)
            known = next(
                (k for k in versions.setdefault(version, []) if {**k, "uses": []} == {**row, "uses": []}), None
            )
            if known is None:
                versions[version].append({**row, "uses": [use]})
            else:
                known["uses"].append(use)
        images[framework] = dict(sorted(versions.items()))
    source = f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
    return {"source": source, "registries": registries, "images": images}


def monitors() -> dict[str, Any]:
    """Return the accounts of Model Monitor's and Clarify's images, region to account."""
    found: dict[str, Any] = {"source": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"}
    for name, (config, version) in MONITORS.items():
        document = json.loads((_package() / "image_uri_config" / f"{config}.json").read_text())
        scope = next(
            value for value in (document, *document.values()) if isinstance(value, dict) and "versions" in value
        )
        versions = scope["versions"]
        (entry,) = [versions[version]] if version else versions.values()
        found[name] = dict(sorted(entry["registries"].items()))
    return found


def rendered_monitors(found: dict[str, Any]) -> str:
    """Return that table as text, with one image per line."""
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()) + "\n}\n"


def _rows(framework: str) -> Iterator[tuple[str, str, dict[str, Any], dict[str, str]]]:
    document = json.loads((_package() / "image_uri_config" / f"{framework}.json").read_text())
    for use in USES:
        scope = document[use]
        for version, entry in scope["versions"].items():
            if "repository" not in entry or not _FULL_VERSION.fullmatch(version):
                continue
            processors = scope.get("processors") or entry.get("processors") or [None]
            for processor, python in itertools.product(processors, entry.get("py_versions") or [None]):
                if processor not in (None, *_INSTANCES) or (python is not None and python.startswith("py2")):
                    continue
                parts = (
                    entry.get("tag_prefix", version),
                    processor if entry.get("processor_in_tag", True) else None,
                    python,
                    entry.get("container_version", {}).get(processor),
                )
                row = {
                    "repository": entry["repository"],
                    "tag": "-".join(part for part in parts if part),
                    "processor": processor or "cpu",
                    "python": python,
                }
                yield use, version, row, entry["registries"]


def _registry_name(registries: dict[str, dict[str, str]], accounts: dict[str, str]) -> str:
    name = next((name for name, known in registries.items() if known == accounts), f"registry{len(registries) + 1}")
    registries[name] = dict(sorted(accounts.items()))
    return name


def _package() -> Path:
    files = importlib.metadata.files(PACKAGE)
    if files is None:
        raise SystemExit(f"{PACKAGE} lists no files; reinstall it")
    return next(Path(str(f.locate())).parents[1] for f in files if f.match("image_uri_config/xgboost.json"))


def retrieved(found: dict[str, Any]) -> Iterator[str]:
    """Yield each image whose URI from the SDK differs from the table."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    from sagemaker.core import image_uris  # noqa: PLC0415 - imports all of the SDK

    seen: set[str] = set()
    for framework, versions in found["images"].items():
        for version, rows in versions.items():
            for row, (region, account) in _places(rows, found, seen):
                for use in row["uses"]:
                    uri = image_uris.retrieve(
                        framework, region, version=version, image_scope=use, py_version=row["python"],
                        instance_type=_INSTANCES[row["processor"]],
                    )  # fmt: skip
                    host, _, name = uri.partition("/")
                    expected = f"{row['repository']}:{row['tag']}"
                    if name != expected or not host.startswith(f"{account}.dkr.ecr.{region}."):
                        yield f"{framework} {version} {use} in {region}: the SDK has {uri}, the table {account} {expected}"


def rendered(found: dict[str, Any]) -> str:
    """Return the table as text, with one image or registry per line."""
    lines = ["{", f' "source": {json.dumps(found["source"])},', ' "registries": {']
    lines.append(
        ",\n".join(f"  {json.dumps(name)}: {json.dumps(found['registries'][name])}" for name in found["registries"])
    )
    lines += [" },", ' "images": {']
    frameworks = []
    for framework, versions in found["images"].items():
        rows = [
            f"   {json.dumps(version)}: [\n" + ",\n".join(f"    {json.dumps(row)}" for row in images) + "\n   ]"
            for version, images in versions.items()
        ]
        frameworks.append(f"  {json.dumps(framework)}: {{\n" + ",\n".join(rows) + "\n  }")
    return "\n".join([*lines, ",\n".join(frameworks), " }", "}"]) + "\n"


def _places(
    rows: list[dict[str, Any]], found: dict[str, Any], seen: set[str]
) -> Iterator[tuple[dict[str, Any], tuple[str, str]]]:
    """Yield each image with one Region, and one image of each registry with all Regions."""
    for row in rows:
        accounts = found["registries"][row["registry"]]
        regions = [REGION] if row["registry"] in seen else list(accounts)
        seen.add(row["registry"])
        for region in regions:
            yield row, (region, accounts[region])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--retrieve", action="store_true", help="only compare, with the SDK's URI of every image")
    options = parser.parse_args()
    found = table()
    text, monitors_text = rendered(found), rendered_monitors(monitors())
    count = sum(len(rows) for versions in found["images"].values() for rows in versions.values())
    if options.retrieve:
        wrong = list(retrieved(found))
        print("\n".join(wrong))
        sys.exit(f"{len(wrong)} differ") if wrong else print(f"the SDK has the same URIs for all {count} images")
    elif options.check:
        for path, expected in ((TABLE, text), (MONITORS_TABLE, monitors_text)):
            if path.read_text() != expected:
                sys.exit(f"{path.name} differs from {found['source']}; write it again with: uv run --script {__file__}")
        print(f"{count} images, equal to those of {found['source']}")
    else:
        TABLE.write_text(text)
        MONITORS_TABLE.write_text(monitors_text)
        print(f"wrote {count} images to {TABLE}")


if __name__ == "__main__":
    main()
