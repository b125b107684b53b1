"""A cloud assembly as data: stacks in dependency order, and the files they need.

Format: https://docs.aws.amazon.com/cdk/api/v2/docs/cloud-assembly-schema-readme.html
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any


class AssemblyError(Exception):
    """A cloud assembly that cannot be deployed; the message says what it holds and what is allowed."""


@dataclass(frozen=True)
class FileAsset:
    """One file that a template refers to.

    Attributes:
        path: The file, or the folder to zip.
        zipped: Whether `path` is a folder that travels as a zip.
        bucket: The bucket's name.
        key: The object key; it holds the hash of the content.
    """

    path: Path
    zipped: bool
    bucket: str
    key: str

    def read(self) -> bytes:
        """Return the bytes to upload; a folder always gives the same zip."""
        return zip_folder(self.path) if self.zipped else self.path.read_bytes()


@dataclass(frozen=True)
class Stack:
    """One stack of an assembly.

    Attributes:
        name: The stack's name.
        template: The template file.
        template_key: The template's object key in the bootstrap bucket.
        parameters: Parameter values of the assembly.
        tags: Stack tags.
        assets: Files to upload first.
    """

    name: str
    template: Path
    template_key: str
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    assets: tuple[FileAsset, ...] = ()


def read(folder: Path, *, account: str, region: str, names: Sequence[str] | None = None) -> list[Stack]:
    """Read the stacks of an assembly, dependencies first.

    Args:
        folder: The assembly (`cdk.out`).
        account: The account that environment-agnostic stacks go to.
        region: Its region.
        names: The stacks that are wanted, with everything they depend on. Default: all.

    Raises:
        AssemblyError: If there is no such stack, or one needs what an embedded cloud has not.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise AssemblyError(f"no cloud assembly at {folder}: there is no manifest.json; synthesize first")
    artifacts = json.loads(manifest.read_text("utf-8")).get("artifacts", {})
    values = {"${AWS::AccountId}": account, "${AWS::Region}": region, "${AWS::Partition}": "aws"}
    stacks = {key: item for key, item in artifacts.items() if item["type"] == "aws:cloudformation:stack"}
    order = TopologicalSorter({key: [other for other in item.get("dependencies", []) if other in stacks]
                               for key, item in stacks.items()})  # fmt: skip
    wanted = _wanted(stacks, names)
    found = [_stack(folder, key, artifacts, values) for key in order.static_order() if key in wanted]
    for item in artifacts.values():
        if item["type"] == "cdk:cloud-assembly" and names is None:  # the stacks of a Stage
            nested = folder / item["properties"]["directoryName"]
            found += read(nested, account=account, region=region)
    return found


def zip_folder(folder: Path) -> bytes:
    """Zip a folder so that the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _wanted(stacks: dict[str, Any], names: Sequence[str] | None) -> set[str]:
    by_name = {item["properties"].get("stackName", key): key for key, item in stacks.items()}
    if names is None:
        return set(stacks)
    unknown = sorted(set(names) - by_name.keys())
    if unknown:
        raise AssemblyError(
            f"no stack {', '.join(unknown)} in the assembly; it has {', '.join(sorted(by_name)) or 'none'}"
        )
    wanted: set[str] = set()
    queue = [by_name[name] for name in names]
    while queue:
        key = queue.pop()
        if key not in wanted:
            wanted.add(key)
            queue += [other for other in stacks[key].get("dependencies", []) if other in stacks]
    return wanted


def _stack(folder: Path, key: str, artifacts: dict[str, Any], values: dict[str, str]) -> Stack:
    item = artifacts[key]
    properties = item["properties"]
    assets: list[FileAsset] = []
    for other in item.get("dependencies", []):
        if artifacts.get(other, {}).get("type") == "cdk:asset-manifest":
            assets += _assets(folder, artifacts[other]["properties"]["file"], values)
    template = folder / properties["templateFile"]
    uploaded = next((asset for asset in assets if asset.path == template), None)
    return Stack(
        name=properties.get("stackName", key), template=template,
        template_key=uploaded.key if uploaded else f"{template.name}",
        parameters=dict(properties.get("parameters") or {}), tags=dict(properties.get("tags") or {}), assets=tuple(assets),
    )  # fmt: skip


def _assets(folder: Path, file: str, values: dict[str, str]) -> list[FileAsset]:
    manifest = json.loads((folder / file).read_text("utf-8"))
    images = sorted(manifest.get("dockerImages") or {})
    if images:
        raise AssemblyError(
            f"{file} holds docker images {', '.join(images)}: the embedded cloud builds none; name them by digest"
        )
    found: list[FileAsset] = []
    for digest, asset in (manifest.get("files") or {}).items():
        source = asset["source"]
        if "path" not in source:
            raise AssemblyError(f"{file}: asset {digest} is made by a command; only files and folders are uploaded")
        for destination in asset["destinations"].values():
            bucket, key = _filled(destination["bucketName"], values), _filled(destination["objectKey"], values)
            found.append(FileAsset(folder / source["path"], source.get("packaging", "file") == "zip", bucket, key))
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
