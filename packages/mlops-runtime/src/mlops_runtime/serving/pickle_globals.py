"""What a pickle names, read without loading it: shown to approvers, and no proof of anything.

A pickle may name an innocent function that runs code all the same; scanners that rate such names miss attacks and refuse honest
models. The list is for a person's eyes.

See: https://docs.python.org/3/library/pickletools.html
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from mlops_runtime.contracts.model_manifest import ModelManifest
from mlops_runtime.serving.model_archive import ArchiveError, read
from mlops_runtime.serving.model_folder import PICKLES

_STORES = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_NO_VALUE = ("MEMOIZE", *_STORES)
# joblib's compressors: zlib, gzip, bzip2, xz, LZ4
_COMPRESSED = (b"x", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18")
MOST = 200
UNREAD = "..."  # stands for what could not be read
_MOST_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleGlobals:
    """``module.name`` of each function and class that a pickle names, sorted; ``is_complete`` says whether all of it was read."""

    names: tuple[str, ...]
    is_complete: bool


def pickle_globals(content: bytes) -> PickleGlobals:
    """Return what the bytes of a pickle name.

    Arrays that joblib writes between the instructions end the reading, and compressed files have none that can be read.

    Example:
        >>> import pickle, fractions
        >>> pickle_globals(pickle.dumps(fractions.Fraction(1, 2)))
        PickleGlobals(names=('fractions.Fraction',), is_complete=True)
    """
    found: set[str] = set()
    is_complete = not content.startswith(_COMPRESSED)
    try:
        for name in _names(content):
            found.add(name)
            if len(found) > MOST:
                is_complete = False
                break
    except Exception:
        is_complete = False
    return PickleGlobals(names=tuple(sorted(found)[:MOST]), is_complete=is_complete)


def archived_globals(archive: Path, manifest: ModelManifest) -> tuple[str, ...] | None:
    """Return what the pickles in a ``model.tar.gz`` name; None where its manifest says that nothing is unpickled.

    Args:
        archive: The archive, which a model was loaded from.
        manifest: Its manifest.
    """
    if manifest.trust != "pickle":
        return None
    files = [name for name in manifest.files if name.endswith(PICKLES)]
    try:
        with archive.open("rb") as packed:
            contents = read(packed, files, max_bytes=_MOST_BYTES)
    except ArchiveError:
        return (UNREAD,)
    found = [pickle_globals(content) for content in contents.values()]
    names = sorted({name for each in found for name in each.names})[:MOST]
    return (*names, *([] if found and all(each.is_complete for each in found) else [UNREAD]))


def _names(content: bytes) -> Iterator[str]:
    """Yield each global: of GLOBAL and INST from their argument, of STACK_GLOBAL from the two texts before it."""
    memo: dict[Any, Any] = {}
    pushed: list[Any] = []
    for opcode, argument, _ in pickletools.genops(BytesIO(content)):
        match opcode.name:
            case "GLOBAL" | "INST":
                name = str(argument).replace(" ", ".", 1)
                pushed.append(name)
                yield name
            case "STACK_GLOBAL":
                texts = [each if isinstance(each, str) else "?" for each in pushed[-2:]]
                name = ".".join(["?"] * (2 - len(texts)) + texts)
                del pushed[-2:]
                pushed.append(name)
                yield name
            case "MEMOIZE":
                memo[len(memo)] = pushed[-1] if pushed else None
            case code if code in _STORES:
                memo[argument] = pushed[-1] if pushed else None
            case code if code in _GETS:
                pushed.append(memo.get(argument))
            case _:
                pushed.append(argument if isinstance(argument, str) else None)
