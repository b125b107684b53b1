"""Unpack an untrusted ``model.tar.gz``: only regular files and folders with plain names; anything else is an error.

Python's own ``data`` filter is not sufficient: Python 3.11.7 writes outside the folder through a long chain of links
(CVE-2025-4517). This module never creates links, devices or sparse files, and ignores modes, owners and times of the archive.
"""

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_CHUNK = 65_536
_MAGIC = b"\x1f\x8b"
_STAGING = ".fetch-"
# headers before a member with a long name; a hostile one claims gigabytes, which tarfile would read into memory
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_HEADERS_BEFORE = 8  # valid archives have at most four: a long name, a long target and two kinds of attributes
_EXTENSION_BYTES = 65_536


class ArchiveError(ValueError):
    """An archive is rejected; the message names the member, the problem and the fix. No file of it was kept."""


class BrokenArchiveError(ArchiveError):
    """It is not a complete gzip tar."""


class TraversalError(ArchiveError):
    """A member's name leads out of the folder."""


class AbsoluteNameError(ArchiveError):
    """A member's name is absolute."""


class UnsafeNameError(ArchiveError):
    """A member's name has unsupported characters, or is too long or too deep for a model file."""


class LinkError(ArchiveError):
    """A member is a symbolic or hard link."""


class SpecialFileError(ArchiveError):
    """A member is a device, a pipe, sparse or of an unknown kind."""


class BombError(ArchiveError):
    """It unpacks to more than the limit, in bytes or relative to its packed size."""


class TooManyMembersError(ArchiveError):
    """It has more members than allowed."""


class DuplicateNameError(ArchiveError):
    """Two members have the same name, or one is a file and the other a folder of that name."""


class TrailingDataError(ArchiveError):
    """Data follow the end of the archive."""


class OccupiedFolderError(ArchiveError):
    """The target folder contains files of other origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of an archive."""

    unpacked_bytes: int = 20 * 1024**3  # bytes of the tar inside. Default: 20 GiB
    # unpacked bytes for each packed one; the first 64 MiB are free, since small models are mostly zeros
    ratio: int = 200
    free_bytes: int = 64 * 1024**2
    members: int = 10_000  # files and folders. Default: 10,000
    depth: int = 16  # folders within folders
    name_bytes: int = 1024


class _Inflated:
    """Forward-only reader of the tar in a gzip file, including consecutive gzip streams, which enforces the size limits.

    See: https://datatracker.ietf.org/doc/html/rfc1952#section-2.2 (a gzip file is a series of members)
    """

    def __init__(self, packed: BinaryIO, limits: Limits) -> None:
        self._packed = packed
        self._limits = limits
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._ready = bytearray()
        self._position = 0
        self._read = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int = _CHUNK) -> bytes:
        while len(self._ready) < size and self._fill():
            pass
        result = bytes(self._ready[:size])
        del self._ready[:size]
        self._position += len(result)
        return result

    def _fill(self) -> bool:
        if self._inflate.eof:
            return self._next_stream()
        if not self._pending:
            self._pending = self._packed.read(_CHUNK)
            self._read += len(self._pending)
            if not self._pending:
                raise BrokenArchiveError("the gzip stream ends early; upload the archive again")
        try:
            part = self._inflate.decompress(self._pending, _CHUNK)
        except zlib.error as error:
            raise BrokenArchiveError(f"it is not gzip: {error}; pack it with tar -czf") from error
        self._pending = self._inflate.unconsumed_tail
        self._ready += part
        self._check_size()
        return True

    def _next_stream(self) -> bool:
        """Start the next gzip stream; parallel compressors write several."""
        rest = self._inflate.unused_data
        while len(rest) < len(_MAGIC) and (part := self._packed.read(_CHUNK)):
            self._read += len(part)
            rest += part
        if not rest:
            return False
        if not rest.startswith(_MAGIC):
            raise TrailingDataError(
                "bytes follow the end of the gzip stream; pack it with a single tar -czf and append nothing"
            )
        self._inflate, self._pending = zlib.decompressobj(wbits=31), rest
        return True

    def _check_size(self) -> None:
        unpacked = self._position + len(self._ready)
        if unpacked > self._limits.unpacked_bytes:
            raise BombError(f"it unpacks to more than {self._limits.unpacked_bytes} bytes; ship less beside the model")
        if unpacked > self._limits.free_bytes and unpacked > self._limits.ratio * self._read:
            raise BombError(
                f"it unpacks to more than {self._limits.ratio} times its size; check whether the model is mostly zeros"
            )


class Member(tarfile.TarInfo):
    """A header with stricter checks: tarfile would treat some as the end of the archive, or read a name of gigabytes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Member":
        """Read one header; the argument names are tarfile's."""
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise BrokenArchiveError(f"a header inside is broken: {error}; upload the archive again") from error
        if member.type in _EXTENSIONS and member.size > _EXTENSION_BYTES:
            raise UnsafeNameError(
                f"a name or its attributes take {member.size} bytes; at most {_EXTENSION_BYTES} are allowed"
            )
        return member

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "Member":  # the module shadows tarfile's argument name
        """Read a member and the headers before it, for each of which tarfile calls this method again."""
        before = getattr(archive, "headers_before", 0)
        if before > _HEADERS_BEFORE:
            raise UnsafeNameError(
                f"more than {_HEADERS_BEFORE} headers precede one member; pack it again with tar -czf"
            )
        archive.headers_before = before + 1  # type: ignore[attr-defined]
        try:
            return super().fromtarfile(archive)
        finally:
            archive.headers_before = before  # type: ignore[attr-defined]


def unpack(
    packed: BinaryIO, folder: Path, *, limits: Limits | None = None, stage: Path | None = None
) -> tuple[str, ...]:
    """Unpack an archive into a folder, completely or not at all. Returns the sorted names of its files.

    Everything is written to a staging folder and moved after the whole archive was read. A repeated call replaces the files of
    the previous one.

    Args:
        packed: The archive's bytes.
        folder: Target folder; created if missing. It may contain files of an earlier call, but no others.
        limits: Limits of the archive. Default: ``Limits()``.
        stage: Path of a new staging folder on the same file system. Default: one inside ``folder``.

    Raises:
        ArchiveError: A subclass names the reason; the folder is unchanged.
    """
    limits = Limits() if limits is None else limits
    if stage is None:
        with staging(folder) as own:
            return unpack(packed, folder, limits=limits, stage=own / "files")
    stage.mkdir(mode=0o755)
    files = _write(packed, stage, limits)
    _move(stage, folder)
    return files


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield a new temporary folder inside ``folder``; at the end, also remove ``folder`` if it was created here and is empty."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_STAGING}*"):  # of a killed run
        shutil.rmtree(left)
    stage = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield stage
    finally:
        shutil.rmtree(stage)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def read(packed: BinaryIO, names: Collection[str], *, max_bytes: int, limits: Limits | None = None) -> dict[str, bytes]:
    """Read some files of an archive into memory; the whole archive must be valid for `unpack`.

    Args:
        packed: The archive's bytes.
        names: Paths of files in the archive.
        max_bytes: Maximum bytes of each of them.
        limits: Limits of the archive. Default: ``Limits()``.

    Returns:
        Content of the files that exist, by name.

    Raises:
        ArchiveError: A subclass names the reason.
    """
    found: dict[str, bytes] = {}
    for tar, member, path in _members(packed, Limits() if limits is None else limits):
        name = str(path)
        if name not in names or member.isdir():
            continue
        if member.size > max_bytes:
            raise BombError(f"{_shown(member)} has {member.size} bytes, at most {max_bytes} are allowed")
        found[name] = b"".join(_parts(tar, member))
    return found


def heads(packed: BinaryIO, size: int, *, limits: Limits | None = None) -> dict[str, bytes]:
    """Return the first bytes of each file in an archive; the whole archive must be valid for `unpack`.

    Args:
        packed: The archive's bytes.
        size: Bytes to return per file, at most one chunk.
        limits: Limits of the archive. Default: ``Limits()``.

    Raises:
        ArchiveError: A subclass names the reason.
    """
    found = {}
    for tar, member, path in _members(packed, Limits() if limits is None else limits):
        if not member.isdir():
            found[str(path)] = next(_parts(tar, member), b"")[:size]
    return dict(sorted(found.items()))


def _write(packed: BinaryIO, stage: Path, limits: Limits) -> tuple[str, ...]:
    files = []
    for tar, member, path in _members(packed, limits):
        if not member.isdir():
            files.append(str(path))
        _make(tar, member, stage / path)
    return tuple(sorted(files))


def _members(packed: BinaryIO, limits: Limits) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, PurePosixPath]]:
    """Yield the checked members; trailing data are checked after the last one."""
    stream = _Inflated(packed, limits)
    names = _Names()
    try:
        with tarfile.TarFile(fileobj=stream, mode="r", tarinfo=Member) as tar:  # type: ignore[arg-type]
            for number, member in enumerate(tar, 1):
                if number > limits.members:
                    raise TooManyMembersError(f"it has more than {limits.members} members; pack only the model's files")
                _refuse_kind(member)
                path = _path(member, limits)
                names.add(path, is_folder=member.isdir())
                yield tar, member, path
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise BrokenArchiveError(f"it is not a tar: {error}; upload the archive again") from error
    while rest := stream.read():
        if rest.strip(b"\0"):
            raise TrailingDataError(
                "data follows the end of the tar; pack it with a single tar -czf and append nothing"
            )
    if not names.files:
        raise BrokenArchiveError("it contains no file; pack the model's files")


class _Names:
    """Names so far: files, folders with a header, and parent folders."""

    def __init__(self) -> None:
        self.files: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = set()
        self._parents: set[PurePosixPath] = set()

    def add(self, path: PurePosixPath, *, is_folder: bool) -> None:
        name = str(path)[:100]
        if path in self.files or path in self._folders:
            raise DuplicateNameError(f"{name!r} occurs twice; pack each file once")
        parents = [path, *path.parents] if is_folder else path.parents
        both = self.files.intersection(parents)
        if not is_folder and path in self._parents:
            both.add(path)
        if both:
            raise DuplicateNameError(f"{str(both.pop())[:100]!r} is a file and a folder; rename one")
        (self._folders if is_folder else self.files).add(path)
        self._parents.update(parents)


def _refuse_kind(member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        kind = "symbolic link" if member.issym() else "hard link"
        raise LinkError(
            f"{_shown(member)} is a {kind} to {member.linkname[:100]!r}; pack the file itself (tar --dereference)"
        )
    if member.issparse() or not (member.isreg() or member.isdir()):
        kind = (
            "sparse"
            if member.issparse()
            else {"3": "a character device", "4": "a block device", "6": "a pipe"}.get(
                member.type.decode("latin-1"), f"of the unknown kind {member.type!r}"
            )
        )
        raise SpecialFileError(f"{_shown(member)} is {kind}; pack only regular files and folders")
    if member.size < 0 or (member.isdir() and member.size):
        raise BrokenArchiveError(
            f"{_shown(member)} has {member.size} bytes, which is invalid for its kind; upload the archive again"
        )


def _path(member: tarfile.TarInfo, limits: Limits) -> PurePosixPath:
    name = member.name
    if name.startswith("/"):
        raise AbsoluteNameError(
            f"{_shown(member)} is absolute; pack with names relative to the model's folder (tar -C)"
        )
    path = PurePosixPath(name)
    if ".." in path.parts:
        raise TraversalError(f"{_shown(member)} leads out of the folder; pack from within the model's folder (tar -C)")
    if not path.parts and not member.isdir():
        raise UnsafeNameError(f"{_shown(member)} is not the name of a file; pack files by their names")
    if "\\" in name or not name.isprintable():
        raise UnsafeNameError(f"{_shown(member)} has a backslash or an unprintable character; rename it")
    if len(name.encode()) > limits.name_bytes or max(map(len, map(os.fsencode, path.parts)), default=0) > 255:
        raise UnsafeNameError(
            f"{_shown(member)} is longer than {limits.name_bytes} bytes, or a part of it than 255; rename it"
        )
    if len(path.parts) > limits.depth:
        raise UnsafeNameError(f"{_shown(member)} is more than {limits.depth} folders deep; pack fewer levels")
    if path.parts and path.parts[0].startswith(_STAGING):
        raise UnsafeNameError(f"{_shown(member)} begins with {_STAGING!r}, which is reserved for unpacking; rename it")
    return path


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as output:
        for part in _parts(tar, member):
            output.write(part)


def _parts(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    source = tar.extractfile(member)
    assert source is not None  # noqa: S101 - a regular file has one
    size = 0
    try:
        while part := source.read(_CHUNK):
            size += len(part)
            yield part
    except tarfile.ReadError as error:
        raise BrokenArchiveError(f"{_shown(member)} is truncated: {error}; upload the archive again") from error
    if size != member.size:
        raise BrokenArchiveError(f"{_shown(member)} has {size} of {member.size} bytes; upload the archive again")


def _move(stage: Path, folder: Path) -> None:
    new = {entry.name for entry in stage.iterdir()}
    foreign = sorted(e.name for e in folder.iterdir() if e.name not in new and not e.name.startswith(_STAGING))
    if foreign:
        raise OccupiedFolderError(
            f"{folder} contains {', '.join(foreign[:5])}, which is not part of this archive; use an empty folder"
        )
    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=folder) as old:
        moved: list[str] = []
        try:
            for name in sorted(new):
                if (folder / name).exists():
                    (folder / name).rename(Path(old) / name)
                moved.append(name)
                (stage / name).rename(folder / name)
        except OSError:
            for name in moved:
                _put_back(folder / name, Path(old) / name)
            raise


def _put_back(target: Path, old: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if old.exists():
        old.rename(target)


def _shown(member: tarfile.TarInfo) -> str:
    return f"{member.name[:100]!r}"
