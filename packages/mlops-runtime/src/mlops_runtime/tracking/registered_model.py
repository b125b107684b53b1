"""A model of MLflow's registry as a folder: resolved by REST, downloaded by the caller."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mlops_runtime.tracking.mlflow_rest import MlflowRest, ModelVersion

# a name may hold anything but slashes, colons and quotes, says MLflow; versions are numbers
_URI = re.compile(r"models:/(?P<name>[^/:@'\"]+)(?:/(?P<version>\d+)|@(?P<alias>[^/:@]+))")
_LOGGED = "models:/m-"
_PROXIED = "/api/2.0/mlflow-artifacts/artifacts"
_HOPS = 5  # from a version to where its files lie


class RegisteredModelError(ValueError):
    """A model of MLflow's registry that cannot be taken; the message says why, and what can be."""


class RegisteredModels:
    """The models of an MLflow registry.

    Args:
        mlflow: The server.
        s3: Gives a client of S3, for models whose files lie there.
    """

    def __init__(self, mlflow: MlflowRest, *, s3: Callable[[], Any]) -> None:
        self._mlflow, self._s3 = mlflow, s3

    def download(self, uri: str, folder: Path) -> ModelVersion:
        """Download a model's folder.

        Args:
            uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
            folder: Where its files go; it is made.

        Returns:
            The version.

        Raises:
            RegisteredModelError: If the URI is of another form, or its files lie where the caller cannot read them.
            TrackingAwayError: If MLflow does not answer.
            TrackingRefusedError: If it has no such version or alias.
        """
        found = _URI.fullmatch(uri)
        if found is None:
            raise RegisteredModelError(
                f"a model of MLflow's registry is models:/NAME/VERSION or models:/NAME@ALIAS, got {uri!r}"
            )
        name, number, alias = found["name"], found["version"], found["alias"]
        version = self._mlflow.version_of_alias(name, alias) if number is None else self._mlflow.version(name, number)
        place = self._place(version)
        folder.mkdir(parents=True, exist_ok=True)
        parts = urlsplit(place)
        if parts.scheme == "s3":
            count = self._from_s3(parts.netloc, parts.path.strip("/"), folder)
        elif parts.scheme == "mlflow-artifacts":
            count = self._from_server(unquote(parts.path).strip("/"), folder)
        else:
            raise RegisteredModelError(
                f"the files of {uri} lie at {place}, which is read neither from S3 nor through MLflow; start the server with "
                "--artifacts-destination, or download the folder and give its path"
            )
        if count == 0:
            raise RegisteredModelError(f"{uri} has no files at {place}")
        return version

    def _place(self, version: ModelVersion) -> str:
        """Return where the files of a version lie."""
        answer = self._mlflow.get("model-versions/get-download-uri", name=version.name, version=version.version)
        place = str(answer["artifact_uri"])
        for _ in range(_HOPS):
            if not place.startswith(_LOGGED):
                break
            logged = self._mlflow.get(f"logged-models/{quote(place.removeprefix('models:/'), safe='')}")
            place = str(logged["model"]["info"]["artifact_uri"])
        return place

    def _from_s3(self, bucket: str, prefix: str, folder: Path) -> int:
        s3, count = self._s3(), 0
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for entry in page.get("Contents", []):
                name = str(entry["Key"]).removeprefix(f"{prefix}/")
                if name and not name.endswith("/"):
                    s3.download_file(bucket, entry["Key"], str(_target(folder, name)))
                    count += 1
        return count

    def _from_server(self, path: str, folder: Path) -> int:
        count = 0
        for name in self._names(path, ""):
            self._mlflow.save(f"{_PROXIED}/{quote(f'{path}/{name}')}", _target(folder, name))
            count += 1
        return count

    def _names(self, path: str, below: str) -> Iterator[str]:
        """Yield the files of a folder of the server, with the folders in it."""
        where = f"{path}/{below}".rstrip("/")
        listed: Mapping[str, Any] = self._mlflow.json("GET", f"{_PROXIED}?path={quote(where, safe='')}", None)
        for each in listed.get("files", []):
            name = f"{below}/{each['path']}".lstrip("/")
            if each.get("is_dir"):
                yield from self._names(path, name)
            else:
                yield name


def _target(folder: Path, name: str) -> Path:
    """Return where a file goes, which is never outside the folder.

    Raises:
        RegisteredModelError: If its name leads out of it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RegisteredModelError(f"a file of the model has the path {name!r}, which leads out of its folder")
    target = folder.joinpath(*path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
