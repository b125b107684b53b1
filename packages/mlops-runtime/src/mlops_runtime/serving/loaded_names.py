"""Names that loading a model's file would import: types of a skops file, globals of a pickle. Nothing is loaded here.

The list does not prove that a pickle is safe: the functions that it calls may call anything else.
"""

import bz2
import io
import json
import lzma
import math
import pickletools
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_runtime.contracts.model_manifest import ModelManifest, Trust
from mlops_runtime.serving.model_archive import ArchiveError, heads, read
from mlops_runtime.serving.served_model import ModelError

# Functions and their wrappers may do anything. Classes of scikit-learn are data, except trees, whose indexes are not checked.
# See: https://skops.readthedocs.io/en/stable/persistence.html
_SKOPS_CALLS = ("FunctionNode", "MethodNode", "PartialNode", "OperatorFuncNode")
_SKOPS_SAFE = re.compile(r"sklearn(\.\w+)*\._?[A-Z]\w*")
_SKOPS_DTYPE = ("numpy.dtype", "DTypeNode")  # stored by empty arrays and by imputers
_SKOPS_UNCHECKED = "TreePredictor"
PICKLES = (".pkl", ".pickle", ".joblib")
_HEAD_BYTES, _PICKLE_HEADS = 512, tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
UNREAD = "..."  # placeholder for names that could not be read
_MOST_NAMES = 200
_MOST_BYTES = 256 * 1024**2
_JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
_ITEM = re.compile(r"[biufcSUVOmM]\d+")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_DECOMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda content: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, _MOST_BYTES),
    b"x": lambda content: zlib.decompressobj().decompress(content, _MOST_BYTES),
    b"BZ": lambda content: bz2.BZ2Decompressor().decompress(content, _MOST_BYTES),
    b"\xfd7": lambda content: lzma.LZMADecompressor().decompress(content, _MOST_BYTES),
    b"]\0": lambda content: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(content, _MOST_BYTES),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleGlobals:
    """The globals that a pickle references, as ``module.name``; ``is_complete`` is whether the whole file could be read."""

    names: tuple[str, ...]
    is_complete: bool


def pickle_globals(path: Path) -> PickleGlobals:
    """Return the globals that a pickle references, including one that joblib wrote or compressed.

    Example:
        >>> pickle_globals(Path("model.pkl")).names  # doctest: +SKIP
        ('numpy._core.multiarray._reconstruct', 'numpy.dtype', 'sklearn.linear_model._ridge.Ridge')
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        for magic, decompress in _DECOMPRESS.items():
            if content.startswith(magic):
                content = decompress(content)
                break
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return PickleGlobals(names=(), is_complete=False)
    reading = _Reading(content)
    is_complete = reading.run()
    return PickleGlobals(names=tuple(sorted(reading.names)), is_complete=is_complete and len(content) < _MOST_BYTES)


def archived_globals(archive: Path, manifest: ModelManifest) -> tuple[str, ...] | None:
    """Return the globals that pickles in a ``model.tar.gz`` reference; None if its manifest declares that nothing is unpickled."""
    if manifest.trust != "pickle":
        return None
    return _globals_in(archive, [name for name in manifest.files if name.endswith(PICKLES)])


def container_globals(archive: Path, trust: Trust) -> tuple[str, ...] | None:
    """Like `archived_globals`, for an archive of a third-party container; None if its server unpickles nothing."""
    return _globals_in(archive, container_pickles(archive)) if trust == "pickle" else None


def container_problems(archive: Path, trust: Trust) -> list[str]:
    """Return why an archive contradicts the declared trust of a third-party container.

    Args:
        trust: What loading may do, as the pipeline declares for its container.
    """
    found = [] if trust == "pickle" else container_pickles(archive)
    if not found:
        return []
    return [
        f"{found[0]} is a pickle, and the container is declared with trust {trust!r}; set trust='pickle' in ServingContainer if "
        "the registry allows it, or save the model in a format that is data"
    ]


def container_pickles(archive: Path) -> list[str]:
    """Return the pickles in an archive, by file name or first bytes, including PyTorch's zip files.

    Raises:
        ModelError: If a server would not unpack the archive.
    """
    try:
        with archive.open("rb") as packed:
            begins = heads(packed, _HEAD_BYTES)
            return [name for name, head in begins.items() if name.endswith(PICKLES) or _is_pickle(head)]
    except (OSError, ArchiveError) as error:
        raise ModelError(f"cannot read {archive.name}: {error}") from error


def _is_pickle(head: bytes) -> bool:
    """Return whether a file begins like a pickle of protocol 2 or later, or the zip of ``torch.save``; older protocols are text."""
    # https://docs.python.org/3/library/pickletools.html (PROTO), https://docs.pytorch.org/docs/stable/notes/serialization.html
    return head[:2] in _PICKLE_HEADS or (head.startswith(b"PK") and b"/data.pkl" in head)


def _globals_in(archive: Path, files: list[str]) -> tuple[str, ...]:
    try:
        with archive.open("rb") as packed:
            contents = read(packed, files, max_bytes=_MOST_BYTES)
    except ArchiveError:
        return (UNREAD,)
    found: list[PickleGlobals] = []
    with tempfile.TemporaryDirectory(prefix="mlops-names-") as folder:
        path = Path(folder) / "model.pkl"
        for content in contents.values():
            path.write_bytes(content)
            found.append(pickle_globals(path))
    found_names = sorted({name for each in found for name in each.names})
    is_whole = bool(found) and all(each.is_complete for each in found) and len(found_names) <= _MOST_NAMES
    return (*found_names[:_MOST_NAMES], *([] if is_whole else [UNREAD]))


def skops_types(path: Path) -> tuple[str, ...]:
    """Return the types of scikit-learn and NumPy in a skops file that are data.

    Raises:
        ModelError: If it is not a skops file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            nodes = list(_nodes(json.loads(archive.read("schema.json"))))
    except (KeyError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise ModelError(f"{path.name} is not a skops file: {error}") from error
    called = {name for name, loader in nodes if loader in _SKOPS_CALLS}
    found = {name for name, _ in nodes if is_data(name)}
    name, loader = _SKOPS_DTYPE
    if {each for named, each in nodes if named == name} == {loader}:
        found.add(name)
    return tuple(sorted(found - called))


def is_data(name: str) -> bool:
    """Return whether a type of a skops file is a class of scikit-learn that only contains data.

    Example:
        >>> is_data("sklearn.linear_model._base.LinearRegression"), is_data("os.system")
        (True, False)
    """
    return _SKOPS_SAFE.fullmatch(name) is not None and _SKOPS_UNCHECKED not in name


def _nodes(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        module, kind = value.get("__module__"), value.get("__class__")
        if isinstance(module, str) and isinstance(kind, str):
            yield f"{module}.{kind}", str(value.get("__loader__"))
        for each in value.values():
            yield from _nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)


class _Reading:
    """Reads the opcodes of a pickle, including the raw array bytes that joblib inserts between them."""

    def __init__(self, content: bytes) -> None:
        self.names: set[str] = set()
        self._file, self._length = io.BytesIO(content), len(content)
        self._memo: list[str] = []
        self._texts = ["", ""]
        self._array: _Array | None = None

    def run(self) -> bool:
        """Collect the names; return whether the end was reached."""
        try:
            while not self._has_ended():
                pass
        except (ValueError, IndexError, UnicodeDecodeError):
            return False
        return True

    def _has_ended(self) -> bool:
        """Read to the end of the pickle (True) or past the bytes of an array (False)."""
        for operation, argument, _ in pickletools.genops(self._file):
            name = operation.name
            if name == "STOP":
                return True
            if name in ("GLOBAL", "INST"):
                self._named(str(argument).replace(" ", ".", 1))
            elif name == "STACK_GLOBAL":
                self._named(".".join(self._texts))
            elif name in _TEXTS:
                self._pushed(str(argument))
            elif name in ("BINGET", "LONG_BINGET", "GET") and argument is not None:
                self._pushed(self._memo[int(argument)])
            elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
                place = len(self._memo) if argument is None else int(argument)
                self._memo += [""] * (place + 1 - len(self._memo))
                self._memo[place] = self._texts[-1]
            elif self._array is not None and type(argument) is int:
                self._array.count(argument)
            elif self._array is not None and name == "BUILD" and self._array.is_whole:
                self._skip(self._array)
                self._array = None
                return False
        raise ValueError("the pickle has no end")

    def _named(self, name: str) -> None:
        self.names.add(name)
        self._pushed(name)

    def _pushed(self, text: str) -> None:
        self._texts = [self._texts[-1], text]
        if text == _JOBLIB_ARRAY:
            self._array = _Array()
        elif self._array is not None:
            self._array.read(text)

    def _skip(self, array: "_Array") -> None:
        if array.has_objects:
            inner = _Reading(b"")
            inner._file, inner._length = self._file, self._length  # a nested pickle with its own memo
            if not inner.run():
                raise ValueError("the pickle of an array has no end")
            self.names |= inner.names
            return
        if array.is_aligned:
            self._file.seek(self._file.read(1)[0], io.SEEK_CUR)
        if self._file.seek(array.bytes, io.SEEK_CUR) > self._length:
            raise ValueError("an array is longer than the file")


class _Array:
    """Header of an array that joblib writes before its bytes, read one attribute at a time in the order of its wrapper's state."""

    def __init__(self) -> None:
        self.is_whole = self.is_aligned = False
        self._shape: list[int] = []
        self._item: str | None = None
        self._attribute = ""

    def read(self, text: str) -> None:
        """Read a string: the name of an attribute, or its value."""
        if text in ("shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"):
            self._attribute = text
            self.is_whole |= text == "allow_mmap"
            self.is_aligned |= text == "numpy_array_alignment_bytes"
        elif self._attribute == "dtype" and self._item is None and _ITEM.fullmatch(text):
            self._item = text

    def count(self, number: int) -> None:
        """Read an integer: a dimension if it belongs to the shape."""
        if self._attribute == "shape":
            self._shape.append(number)

    @property
    def has_objects(self) -> bool:
        """Whether the array is a nested pickle instead of bytes."""
        return self._item is not None and self._item.startswith("O")

    @property
    def bytes(self) -> int:
        """Size of the array in bytes."""
        if self._item is None:
            raise ValueError("an array has an unknown type")
        wide = 4 if self._item.startswith("U") else 1
        return math.prod(self._shape) * int(self._item[1:]) * wide
