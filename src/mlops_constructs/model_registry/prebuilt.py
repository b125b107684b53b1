"""AWS's prebuilt images, from a table that ``tools/image_table.py`` writes out of the SageMaker Python SDK.

The SDK itself is no dependency: it is 700 MB, wants a region to be imported, and asks the network.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError

Use = Literal["inference", "training"]
Processor = Literal["cpu", "gpu"]
_TABLE = Path(__file__).parent / "images.json"


@checked("InvalidImage")
@dataclass(frozen=True, slots=True, kw_only=True)
class PrebuiltImage:
    """One prebuilt image: the same repository and tag in each of AWS's accounts, one a region."""

    repository: str
    tag: str
    registry: str
    accounts: Mapping[str, str]


def find_image(
    framework: str,
    version: str,
    *,
    use: Use | None = None,
    processor: Processor | None = None,
    python: str | None = None,
) -> PrebuiltImage:
    """Return the one image that fits.

    Args:
        framework: Such as ``xgboost``.
        version: In full, such as ``3.0-5``.
        use: What it is for. Default: whatever the version has.
        processor: What it runs on. Default: whatever the version has.
        python: Python in the image, such as ``py312``. Default: whatever the version has.

    Raises:
        ValidationError: If framework or version are unknown, or none or several images fit; it names what there is.

    Example:
        >>> find_image("xgboost", "3.0-5").repository
        'sagemaker-xgboost'
    """
    images = _table()["images"]
    if framework not in images:
        raise _error(f"framework must be one of {', '.join(sorted(images))}, got {framework!r}")
    if version not in images[framework]:
        known = ", ".join(sorted(images[framework], key=_order))
        raise _error(f"version of {framework} must be one of {known}, got {version!r}")
    rows: list[Mapping[str, Any]] = images[framework][version]
    fitting = [
        row
        for row in rows
        if use in (None, *row["uses"]) and processor in (None, row["processor"]) and python in (None, row["python"])
    ]
    if len(fitting) != 1:
        what = "no image fits" if not fitting else "several images fit"
        given = f"use={use!r}, processor={processor!r}, python={python!r}"
        raise _error(f"{what} {framework} {version} with {given}; choose one of {_choices(fitting or rows)}")
    (row,) = fitting
    return PrebuiltImage(
        repository=row["repository"],
        tag=row["tag"],
        registry=row["registry"],
        accounts=_table()["registries"][row["registry"]],
    )


def _choices(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"use={use!r}, processor={row['processor']!r}, python={row['python']!r}" for row in rows for use in row["uses"]
    )


def _order(version: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in version.replace("-", ".").split(".")]


def _error(problem: str) -> ValidationError:
    return ValidationError("UnknownImage", [problem])


@cache
def _table() -> dict[str, Any]:
    return dict(json.loads(_TABLE.read_text()))
