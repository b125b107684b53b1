"""``mlops-model.json``: files, loader and trust level of a model that is not plain ONNX.

It is written when the model is packed and verified before anything is loaded. Its hash is the model's hash, so it binds every file.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

# Loaders. ONNX needs no manifest: the server loads it itself. Third-party containers have their own formats, and no manifest.
Flavor = Literal["xgboost", "lightgbm", "catboost", "skops", "mlflow", "pickle", "handler", "container"]
# what loading may do: read numbers, run code that the model contains as source, or unpickle
Trust = Literal["data", "code", "pickle"]
# default of registries, and of servers without a setting
TRUSTED: tuple[Trust, ...] = ("data", "code")
# model input: a pandas frame with categories as text, or a matrix with their codes
Takes = Literal["frame", "matrix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """Files of a model and how to load them.

    ``entry`` is the file or folder that is loaded. ``files`` maps the path of every file but the manifest to its SHA-256.
    ``requirements_sha256`` is the hash of the lock of the environment that loads it, ``python`` the version of that environment
    (``3.13``). ``trusted`` are the types that a skops file may contain beyond skops' own.
    """

    flavor: Flavor
    entry: str
    takes: Takes
    trust: Trust
    files: Mapping[str, str]
    requirements_sha256: str
    python: str
    trusted: tuple[str, ...] = ()
    produced_by: str | None = None
    format: Literal["mlops.model/1"] = "mlops.model/1"


def trust_refusal(subject: str, flavor: str | None, trust: str, *, allowed: Collection[str]) -> str:
    """Return the error message for a model whose trust level is not allowed.

    Args:
        subject: File of the model, or ``the model``.
        flavor: Loader of the model.
        trust: What loading it may do.
        allowed: Trust levels that its registry allows.

    Example:
        >>> trust_refusal("the model", "pickle", "pickle", allowed=TRUSTED).rpartition(" or ")[2]
        "allow it with ModelRegistry(trust=('data', 'code', 'pickle')) and deploy the stack"
    """
    names = ", ".join(repr(name) for name in (*allowed, trust))
    return (
        f"{subject} is loaded by {flavor} with trust {trust!r}, the registry allows {', '.join(allowed)}; register a model that is "
        f"data, such as ONNX, or allow it with ModelRegistry(trust=({names})) and deploy the stack"
    )
