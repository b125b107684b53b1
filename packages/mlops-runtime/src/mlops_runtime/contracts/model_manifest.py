"""``mlops-model.json``: the files of a model that is not plain ONNX, what loads them, and what they may do.

It is written when the model is packed and compared before anything is loaded: its hash is the model's, so it binds every file.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

# what loads a model; ONNX needs no manifest, the server loads it itself; a container of others has its own format, and no manifest
Flavor = Literal["xgboost", "lightgbm", "catboost", "skops", "mlflow", "pickle", "handler", "container"]
# what loading may do: read numbers, run code of the model's own that lies there as text, or unpickle
Trust = Literal["data", "code", "pickle"]
# what a registry allows, and a server without a setting of its own
TRUSTED: tuple[Trust, ...] = ("data", "code")
# what a model predicts from: a pandas frame with categories as text, or a matrix with their codes
Takes = Literal["frame", "matrix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What a model consists of.

    ``entry`` is the file or folder that is loaded. ``files`` has the SHA-256 of every file but the manifest, by its path.
    ``requirements_sha256`` is of the lock of the environment that loads it, ``python`` that environment's version (``3.13``).
    ``trusted`` names the types that a skops file may have beyond skops' own.
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
    """Return the sentence that refuses a model whose loading may do more than is allowed.

    Args:
        subject: Its file, or ``the model``.
        flavor: What loads it.
        trust: What loading it may do.
        allowed: What its registry allows.

    Example:
        >>> trust_refusal("the model", "pickle", "pickle", allowed=TRUSTED).rpartition(" or ")[2]
        "allow it with ModelRegistry(trust=('data', 'code', 'pickle')) and deploy the stack"
    """
    names = ", ".join(repr(name) for name in (*allowed, trust))
    return (
        f"{subject} is loaded by {flavor} with trust {trust!r}, the registry allows {', '.join(allowed)}; register a model that is "
        f"data, such as ONNX, or allow it with ModelRegistry(trust=({names})) and deploy the stack"
    )
