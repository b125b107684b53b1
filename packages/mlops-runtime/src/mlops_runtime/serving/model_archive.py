"""Read an untrusted ``model.tar.gz``: regular files and folders with plain names, or a refusal by name.

Python's own ``data`` filter is not enough: Python 3.11.7 writes outside the folder through a long chain of links (CVE-2025-4517).
Here no link, device or hole of any kind is made at all. Modes, owners and times of the archive are dropped.
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
# what precedes a member with a long name; a hostile one claims gigabytes, which tarfile would read into memory
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_HEADERS_BEFORE = 8  # a long name, a long target and two kinds of attributes are four
_EXTENSION_BYTES = 65_536


class ArchiveError(ValueError):
    """An archive is refused; the message names the member, what is wrong with it and the fix. Nothing of it was kept."""


class BrokenArchiveError(ArchiveError):
    """It is not a complete gzip tar."""


class TraversalError(ArchiveError):
    """A member's name leads out of the folder."""


class AbsoluteNameError(ArchiveError):
    """A member's name is absolute."""


class UnsafeNameError(ArchiveError):
    """A member's name has characters, a length or a depth that no model file needs."""


class LinkError(ArchiveError):
    """A member is a symbolic or hard link."""


class SpecialFileError(ArchiveError):
    """A member is a device, a pipe, sparse or of an unknown kind."""


class BombError(ArchiveError):
    """It unpacks to more than is allowed, in bytes or in relation to its own size."""


class TooManyMembersError(ArchiveError):
    """It has more members than is allowed."""


class DuplicateNameError(ArchiveError):
    """Two members have one name, or one is a file and another's folder."""


class TrailingDataError(ArchiveError):
    """Something follows the end of the archive."""


class OccupiedFolderError(ArchiveError):
    """The folder holds something that the archive does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may be at most.

    Args:
        unpacked_bytes: Bytes of the tar inside. Default: 20 GiB.
        ratio: Unpacked bytes for each packed one; the first 64 MiB are free, since small models are mostly zeros. Default: 200.
        members: Files and folders. Default: 10,000.
        depth: Folders within folders. Default: 16.
    """

    unpacked_bytes: int = 20 * 1024**3
    ratio: int = 200
    free_bytes: int = 64 * 1024**2
    members: int = 10_000
    depth: int = 16
    name_bytes: int = 1024


class _Inflated:
    """The tar inside a gzip file, read forward only and counted; gzip streams one after another and not a byte more.

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
        """Begin the gzip stream that follows one, as parallel compressors write them."""
        rest = self._inflate.unused_data
        while len(rest) < len(_MAGIC) and (part := self._packed.read(_CHUNK)):
            self._read += len(part)
            rest += part
        if not rest:
            return False
        if not rest.startswith(_MAGIC):
            raise TrailingDataError(
                "bytes follow the end of the gzip stream; pack it with one tar -czf, append nothing"
            )
        self._inflate, self._pending = zlib.decompressobj(wbits=31), rest
        return True

    def _check_size(self) -> None:
        unpacked = self._position + len(self._ready)
        if unpacked > self._limits.unpacked_bytes:
            raise BombError(f"it unpacks to more than {self._limits.unpacked_bytes} bytes; ship less beside the model")
        if unpacked > self._limits.free_bytes and unpacked > self._limits.ratio * self._read:
            raise BombError(
                f"it unpacks to more than {self._limits.ratio} times its size; export a model of mostly zeros again"
            )


class Member(tarfile.TarInfo):
    """A header that is refused where tarfile would take it for the end of the archive, or read gigabytes of name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Member":
        """Read one header; tarfile names the arguments."""
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
    def fromtarfile(cls, archive: tarfile.TarFile) -> "Member":  # tarfile's own name is taken by the module
        """Read a member with the headers before it, for each of which tarfile calls this again."""
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
    """Unpack an archive into a folder, wholly or not at all. Returns the names of its files, sorted.

    Everything is written to a staging folder inside and moved in when the whole archive was read. Called again, it replaces
    what it wrote before.

    Args:
        packed: The archive's bytes.
        folder: Where to; made where missing. It may hold what an earlier call left, and nothing else.
        limits: What may be inside. Default: ``Limits()``.
        stage: A new folder on the same file system, in which it is unpacked first. Default: one inside ``folder``.

    Raises:
        ArchiveError: Its subclass says why; the folder is as it was.
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
    """Give a new folder inside ``folder`` that is gone afterwards; so is ``folder`` where it was made here and stays empty."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_STAGING}*"):  # of a run that was killed
        shutil.rmtree(left)
    stage = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield stage
    finally:
        shutil.rmtree(stage)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def read(packed: BinaryIO, names: Collection[str], *, max_bytes: int, limits: Limits | None = None) -> dict[str, bytes]:
    """Read some files of an archive into memory; the whole archive must be one that `unpack` takes.

    Args:
        packed: The archive's bytes.
        names: Paths of files inside.
        max_bytes: Bytes that each of them may have at most.
        limits: What may be inside. Default: ``Limits()``.

    Returns:
        The content of those that are there.

    Raises:
        ArchiveError: Its subclass says why.
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
    """Return how each file in an archive begins; the whole archive must be one that `unpack` takes.

    Args:
        packed: The archive's bytes.
        size: Bytes of each file, at most those of a chunk.
        limits: What may be inside. Default: ``Limits()``.

    Raises:
        ArchiveError: Its subclass says why.
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
    """Return the members, each checked; what follows the last one is checked when it was taken."""
    stream = _Inflated(packed, limits)
    names = _Names()
    try:
        with tarfile.TarFile(fileobj=stream, mode="r", tarinfo=Member) as tar:  # type: ignore[arg-type]
            for number, member in enumerate(tar, 1):
                if number > limits.members:
                    raise TooManyMembersError(
                        f"it has more than {limits.members} members; pack the model's files alone"
                    )
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
            raise TrailingDataError("data follows the end of the tar; pack it with one tar -czf, append nothing")
    if not names.files:
        raise BrokenArchiveError("it holds no file; pack the model's files")


class _Names:
    """The names so far: files, folders that have a header, and folders that something lies in."""

    def __init__(self) -> None:
        self.files: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = set()
        self._parents: set[PurePosixPath] = set()

    def add(self, path: PurePosixPath, *, is_folder: bool) -> None:
        name = str(path)[:100]
        if path in self.files or path in self._folders:
            raise DuplicateNameError(f"{name!r} is there twice; pack each file once")
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
        raise SpecialFileError(f"{_shown(member)} is {kind}; pack regular files and folders alone")
    if member.size < 0 or (member.isdir() and member.size):
        raise BrokenArchiveError(
            f"{_shown(member)} has {member.size} bytes, which no such member has; upload the archive again"
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
        raise UnsafeNameError(f"{_shown(member)} names no file; pack files by their names")
    if "\\" in name or not name.isprintable():
        raise UnsafeNameError(f"{_shown(member)} has a backslash or an unprintable character; rename it")
    if len(name.encode()) > limits.name_bytes or max(map(len, map(os.fsencode, path.parts)), default=0) > 255:
        raise UnsafeNameError(
            f"{_shown(member)} is longer than {limits.name_bytes} bytes, or a part of it than 255; rename it"
        )
    if len(path.parts) > limits.depth:
        raise UnsafeNameError(f"{_shown(member)} lies more than {limits.depth} folders deep; pack fewer levels")
    if path.parts and path.parts[0].startswith(_STAGING):
        raise UnsafeNameError(f"{_shown(member)} begins with {_STAGING!r}, which is kept for unpacking; rename it")
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
        raise BrokenArchiveError(f"{_shown(member)} is cut: {error}; upload the archive again") from error
    if size != member.size:
        raise BrokenArchiveError(f"{_shown(member)} has {size} of {member.size} bytes; upload the archive again")


def _move(stage: Path, folder: Path) -> None:
    new = {entry.name for entry in stage.iterdir()}
    foreign = sorted(e.name for e in folder.iterdir() if e.name not in new and not e.name.startswith(_STAGING))
    if foreign:
        raise OccupiedFolderError(
            f"{folder} holds {', '.join(foreign[:5])}, which is not of this archive; give an empty folder"
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
