"""Download a model of MLflow's registry to a folder, resolving it with the REST API."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.jobs.script_process import sized
from mlops_runtime.tracking.mlflow_rest import MlflowRest, ModelVersion

# MLflow's names exclude slashes, colons and quotes; versions are numbers
_URI = re.compile(r"models:/(?P<name>[^/:@'\"]+)(?:/(?P<version>\d+)|@(?P<alias>[^/:@]+))")
_LOGGED = "models:/m-"
_PROXIED = "/api/2.0/mlflow-artifacts/artifacts"
_HOPS = 5  # maximum redirections from a version to the location of its files
# limits of an unpacked model, whose archive has at most 5 GiB
_MAX_FILES, _MAX_DEPTH, _MAX_BYTES = 10_000, 20, 10 * 1024**3


class RegisteredModelError(ValueError):
    """A model of MLflow's registry cannot be downloaded; the message has the reason and what is supported."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a model: its path in the model's folder, and its size according to the listing."""

    name: str
    size: int


class RegisteredModels:
    """The models of an MLflow registry; files and bytes of a model are limited, in the listing and as downloaded."""

    def __init__(
        self, mlflow: MlflowRest, *, s3: Callable[[], Any], max_files: int = _MAX_FILES, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._mlflow, self._s3 = mlflow, s3
        self._max_files, self._max_bytes = max_files, max_bytes

    def download(self, uri: str, folder: Path) -> ModelVersion:
        """Download a model's folder; return the version.

        Args:
            uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
            folder: Target folder, which is created.

        Raises:
            RegisteredModelError: If the URI has another form, the caller cannot read the files, or they exceed a limit, in which
                case none is downloaded.
            TrackingAwayError: If MLflow does not respond.
            TrackingRefusedError: If there is no such version or alias.
        """
        found = _URI.fullmatch(uri)
        if found is None:
            raise RegisteredModelError(
                f"a model of MLflow's registry must be models:/NAME/VERSION or models:/NAME@ALIAS, got {uri!r}"
            )
        name, number, alias = found["name"], found["version"], found["alias"]
        version = self._mlflow.version_of_alias(name, alias) if number is None else self._mlflow.version(name, number)
        place = self._place(version)
        folder.mkdir(parents=True, exist_ok=True)
        parts = urlsplit(place)
        if parts.scheme == "s3":
            count = self._from_s3(parts.netloc, parts.path.strip("/"), folder, place)
        elif parts.scheme == "mlflow-artifacts":
            count = self._from_server(unquote(parts.path).strip("/"), folder)
        else:
            raise RegisteredModelError(
                f"the files of {uri} are at {place}, which is neither S3 nor served by MLflow; start the server with "
                "--artifacts-destination, or download the folder and give its path"
            )
        if count == 0:
            raise RegisteredModelError(f"{uri} has no files at {place}")
        return version

    def _place(self, version: ModelVersion) -> str:
        """Return the location of a version's files."""
        answer = self._mlflow.get("model-versions/get-download-uri", name=version.name, version=version.version)
        place = str(answer["artifact_uri"])
        for _ in range(_HOPS):
            if not place.startswith(_LOGGED):
                break
            logged = self._mlflow.get(f"logged-models/{quote(place.removeprefix('models:/'), safe='')}")
            place = str(logged["model"]["info"]["artifact_uri"])
        return place

    def _from_s3(self, bucket: str, prefix: str, folder: Path, place: str) -> int:
        s3 = self._s3()
        try:
            files = self._bounded(_objects(s3, bucket, prefix), place)
            for file in files:
                s3.download_file(bucket, f"{prefix}/{file.name}", str(_target(folder, file.name)))
        except (ClientError, BotoCoreError) as error:
            raise RegisteredModelError(
                f"the model's files are at {place}, which you cannot read: {error}; request s3:ListBucket and s3:GetObject there"
            ) from error
        return len(files)

    def _from_server(self, path: str, folder: Path) -> int:
        files = self._bounded(self._files(path, "", 0), f"{self._mlflow}, {path}")
        left = self._max_bytes
        for file in files:
            target = _target(folder, file.name)
            self._mlflow.save(f"{_PROXIED}/{quote(f'{path}/{file.name}')}", target, max_bytes=left)
            left -= target.stat().st_size
        return len(files)

    def _bounded(self, found: Iterator[_File], place: str) -> list[_File]:
        """Return all files of a listing, or raise as soon as they exceed a limit."""
        files, size = list[_File](), 0
        for file in found:
            files.append(file)
            size += file.size
            if len(files) > self._max_files or size > self._max_bytes:
                raise RegisteredModelError(
                    f"the model at {place} has more than {self._max_files} files or {sized(self._max_bytes)}; register only the "
                    "model, without data or checkpoints beside it"
                )
        return files

    def _files(self, path: str, below: str, depth: int) -> Iterator[_File]:
        """Yield the files of a folder on the server, recursively."""
        if depth > _MAX_DEPTH:
            raise RegisteredModelError(f"the model's folder {path} has more than {_MAX_DEPTH} nested folders")
        where = f"{path}/{below}".rstrip("/")
        listed: Mapping[str, Any] = self._mlflow.json("GET", f"{_PROXIED}?path={quote(where, safe='')}", None)
        for each in listed.get("files", []):
            name = f"{below}/{each['path']}".lstrip("/")
            if each.get("is_dir"):
                yield from self._files(path, name, depth + 1)
            else:
                yield _File(name, int(each.get("file_size") or 0))


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[_File]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            name = str(entry["Key"]).removeprefix(f"{prefix}/")
            if name and not name.endswith("/"):
                yield _File(name, int(entry["Size"]))


def _target(folder: Path, name: str) -> Path:
    """Return the target path of a file, never outside the folder.

    Raises:
        RegisteredModelError: If the file's name leads outside it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RegisteredModelError(f"a file of the model has the path {name!r}, which leads outside its folder")
    target = folder.joinpath(*path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
