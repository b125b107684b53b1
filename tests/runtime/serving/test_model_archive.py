"""Malicious archives are rejected by name without leftovers; valid ones are extracted byte by byte."""

import gzip
import io
import os
import struct
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.serving.model_archive import (
    AbsoluteNameError,
    ArchiveError,
    BombError,
    BrokenArchiveError,
    DuplicateNameError,
    Limits,
    LinkError,
    OccupiedFolderError,
    SpecialFileError,
    TooManyMembersError,
    TrailingDataError,
    TraversalError,
    UnsafeNameError,
    heads,
    read,
    unpack,
)


def tar(*members: Any, form: int = tarfile.GNU_FORMAT, **attributes: Any) -> bytes:
    """Return a tar of ``(name, content)`` or ``(name, type, link)``."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        for name, *rest in members:
            info = tarfile.TarInfo(name)
            for key, value in attributes.items():
                setattr(info, key, value)
            if len(rest) == 1:
                info.size = len(rest[0])
                archive.addfile(info, io.BytesIO(rest[0]))
            else:
                info.type, info.linkname = rest
                archive.addfile(info)
    return output.getvalue()


def packed(*members: Any, **options: Any) -> bytes:
    """Return a ``tar.gz``."""
    return gzip.compress(tar(*members, **options), 1, mtime=0)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return the content of a folder; a folder is None, a link its target."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = (
            os.fsencode(path.readlink()) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        )
    return found


CHAIN = [(f"{'d' * 200}{n}", tarfile.SYMTYPE, f"{'d' * 200}{n + 1}") for n in range(20)]
HUGE_PAX = (
    tarfile.TarInfo("x").tobuf()[:124]
    + b"77777777777\0"
    + b"0" * 12
    + b" " * 8
    + b"x"
    + b"\0" * 100
    + b"ustar\x0000"
    + b"\0" * 247
)


def checked(header: bytes) -> bytes:
    """Return a header with its checksum."""
    header = header[:148] + b" " * 8 + header[156:]
    return header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]


FILE = ("model.onnx", b"model")
EVIL: list[tuple[str, type[ArchiveError], str, Callable[[], bytes]]] = [
    ("traversal", TraversalError, "leads out of the folder", lambda: packed(FILE, ("../evil", b"x"))),
    ("traversal inside", TraversalError, "leads out", lambda: packed(("a/../../evil", b"x"))),
    ("traversal that comes back", TraversalError, "leads out", lambda: packed(("a/../b", b"x"))),
    (
        "traversal by pax",
        TraversalError,
        "leads out",
        lambda: packed(("../" + "é" * 120, b"x"), form=tarfile.PAX_FORMAT),
    ),
    ("absolute", AbsoluteNameError, "is absolute", lambda: packed(FILE, ("/etc/cron.d/evil", b"x"))),
    ("absolute twice", AbsoluteNameError, "is absolute", lambda: packed(("//etc/passwd", b"x"))),
    ("symlink", LinkError, "symbolic link to '/etc/passwd'", lambda: packed(("a", tarfile.SYMTYPE, "/etc/passwd"))),
    ("symlink inside", LinkError, "symbolic link", lambda: packed(FILE, ("a", tarfile.SYMTYPE, "model.onnx"))),
    ("hard link", LinkError, "hard link to 'model.onnx'", lambda: packed(FILE, ("a", tarfile.LNKTYPE, "model.onnx"))),
    ("chain of links", LinkError, "symbolic link", lambda: packed(*CHAIN, ("a/b", b"x"))),
    ("character device", SpecialFileError, "a character device", lambda: packed(("a", tarfile.CHRTYPE, ""))),
    ("block device", SpecialFileError, "a block device", lambda: packed(("a", tarfile.BLKTYPE, ""))),
    ("fifo", SpecialFileError, "a pipe", lambda: packed(("a", tarfile.FIFOTYPE, ""))),
    ("unknown kind", SpecialFileError, "unknown kind b'Z'", lambda: packed(("a", b"Z", ""))),
    ("twice", DuplicateNameError, "occurs twice", lambda: packed(FILE, FILE)),
    ("twice by spelling", DuplicateNameError, "occurs twice", lambda: packed(FILE, ("./model.onnx", b"x"))),
    (
        "folder twice",
        DuplicateNameError,
        "occurs twice",
        lambda: packed(("a", tarfile.DIRTYPE, ""), ("a/", tarfile.DIRTYPE, "")),
    ),
    ("file as folder", DuplicateNameError, "a file and a folder", lambda: packed(("a", b"x"), ("a/b", b"x"))),
    ("folder as file", DuplicateNameError, "a file and a folder", lambda: packed(("a/b", b"x"), ("a", b"x"))),
    (
        "file then its folder",
        DuplicateNameError,
        "occurs twice",
        lambda: packed(("a", b"x"), ("a", tarfile.DIRTYPE, "")),
    ),
    ("ratio", BombError, "more than 200 times its size", lambda: packed(("a", b"\0" * 3_000_000))),
    ("members", TooManyMembersError, "more than 50 members", lambda: packed(*[(str(n), b"") for n in range(51)])),
    ("after gzip", TrailingDataError, "follow the end of the gzip", lambda: packed(FILE) + b"x"),
    ("second gzip", TrailingDataError, "follows the end of the tar", lambda: packed(FILE) + packed(("b", b""))),
    ("zeros after gzip", TrailingDataError, "follow the end of the gzip", lambda: packed(FILE) + b"\0" * 512),
    ("after tar", TrailingDataError, "follows the end of the tar", lambda: gzip.compress(tar(FILE) + b"x")),
    ("second tar", TrailingDataError, "follows the end of the tar", lambda: gzip.compress(tar(FILE) + tar(("b", b"")))),
    ("long name", UnsafeNameError, "longer than 1024 bytes", lambda: packed(("/".join(["a" * 200] * 6), b""))),
    ("long part", UnsafeNameError, "part of it than 255", lambda: packed(("é" * 128, b""))),
    ("deep", UnsafeNameError, "16 folders deep", lambda: packed(("/".join("abcdefghijklmnopq"), b""))),
    ("backslash", UnsafeNameError, "a backslash", lambda: packed(("..\\evil", b""))),
    ("control character", UnsafeNameError, "unprintable", lambda: packed(("a\n", b""))),
    ("no UTF-8", UnsafeNameError, "unprintable", lambda: packed(("a\udcff", b""))),
    ("staging", UnsafeNameError, "reserved for unpacking", lambda: packed((".fetch-1/a", b""))),
    ("no name", UnsafeNameError, "is not the name of a file", lambda: packed((".", b"x"))),
    (
        "hundreds of long names",
        UnsafeNameError,
        "more than 8 headers precede one member",
        lambda: gzip.compress(tar(("a" * 120, b""))[:1024] * 600 + tar(FILE)),
    ),
    ("name of gigabytes", UnsafeNameError, "take 8589934591 bytes", lambda: gzip.compress(checked(HUGE_PAX))),
    ("not gzip", BrokenArchiveError, "not gzip", lambda: b"PK\x03\x04"),
    ("empty", BrokenArchiveError, "ends early", lambda: b""),
    ("cut", BrokenArchiveError, "ends early", lambda: packed(FILE)[:-9]),
    ("wrong checksum of gzip", BrokenArchiveError, "not gzip", lambda: packed(FILE)[:-8] + b"\0" * 8),
    ("tar cut inside", BrokenArchiveError, "'a' is truncated", lambda: gzip.compress(tar(("a", b"x" * 2000))[:1024])),
    ("tar without end", BrokenArchiveError, "header inside is broken", lambda: gzip.compress(tar(FILE)[:1024])),
    (
        "nonsense inside",
        BrokenArchiveError,
        "header inside is broken",
        lambda: gzip.compress(tar(FILE)[:1024] + b"x" * 512),
    ),
    ("no member", BrokenArchiveError, "contains no file", packed),
    (
        "only regular files and folders",
        BrokenArchiveError,
        "contains no file",
        lambda: packed(("a", tarfile.DIRTYPE, "")),
    ),
    (
        "a folder with bytes",
        BrokenArchiveError,
        "which is invalid for its kind",
        lambda: packed(("a", tarfile.DIRTYPE, ""), size=512),
    ),
]


@pytest.mark.parametrize(("error", "message", "make"), [row[1:] for row in EVIL], ids=[row[0] for row in EVIL])
@pytest.mark.parametrize("is_present", [True, False], ids=["folder is there", "folder is new"])
def test_fails_by_name_and_leaves_nothing(
    tmp_path: Path, error: type[ArchiveError], message: str, make: Callable[[], bytes], is_present: bool
) -> None:
    """Each fault has its own error; nothing new is in the folder or next to it."""
    folder = tmp_path / "opt" / "model"
    if is_present:
        folder.mkdir(parents=True)
    else:
        folder.parent.mkdir()
    before = tree(tmp_path)
    with pytest.raises(ArchiveError, match=message) as caught:
        unpack(io.BytesIO(make()), folder, limits=Limits(members=50, free_bytes=2_000_000))
    assert type(caught.value) is error
    assert tree(tmp_path) == before
    assert str(caught.value)[0].islower() or str(caught.value)[0] == "'"


def test_fails_for_sparse_files(tmp_path: Path) -> None:
    """Sparse gigabytes cost nothing to send; both GNU's and the pax format are rejected."""
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"77777777777\0"
    with pytest.raises(SpecialFileError, match="'a' is sparse"):
        unpack(io.BytesIO(gzip.compress(checked(bytes(header)) + b"\0" * 1024)), tmp_path)
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    content = b"1\n0\n1\n".ljust(512, b"\0")
    with pytest.raises(SpecialFileError, match="is sparse"):
        unpack(io.BytesIO(packed(("a", content), form=tarfile.PAX_FORMAT, pax_headers=sparse)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fails_for_a_size_that_pax_makes_negative(tmp_path: Path) -> None:
    """A negative size would make a reader loop for ever."""
    evil = packed(FILE, form=tarfile.PAX_FORMAT, pax_headers={"size": "-512"})
    with pytest.raises(BrokenArchiveError):
        unpack(io.BytesIO(evil), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fails_for_more_bytes_than_allowed_before_they_are_written(tmp_path: Path) -> None:
    """The declared and the actual size are limited."""
    noise = os.urandom(300_000)
    with pytest.raises(BombError, match="unpacks to more than 200000 bytes"):
        unpack(io.BytesIO(packed(("a", noise))), tmp_path, limits=Limits(unpacked_bytes=200_000))
    assert list(tmp_path.iterdir()) == []


def test_modes_and_owners_of_an_archive_are_dropped(tmp_path: Path) -> None:
    """No set-uid programs; files are readable by another uid of the pod."""
    before = os.umask(0o022)
    try:
        unpack(io.BytesIO(packed(("a/run", b"x"), mode=0o6777, uid=0)), tmp_path / "model")
    finally:
        os.umask(before)
    assert oct((tmp_path / "model/a/run").stat().st_mode) == "0o100644"
    assert oct((tmp_path / "model/a").stat().st_mode) == "0o40755"


def test_what_tar_itself_writes_is_read(tmp_path: Path, models: Any) -> None:
    """An archive of files on disk with pax headers for times, and a model's own."""
    source = models.write(tmp_path / "source")
    (source / "code").mkdir()
    (source / "code" / f"{'n' * 150}.txt").write_text("long")
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = tmp_path / f"{form}.tar.gz"
        with tarfile.open(archive, "w:gz", format=form) as output:
            output.add(source, arcname=".")
        with archive.open("rb") as stream:
            files = unpack(stream, tmp_path / f"model{form}")
        assert tree(tmp_path / f"model{form}") == tree(source)
        assert files == (f"code/{'n' * 150}.txt", "model.onnx", "signature.json")


def test_called_again_it_replaces_what_it_wrote(tmp_path: Path) -> None:
    """An init container may run twice over a volume; foreign files there stay."""
    unpack(io.BytesIO(packed(("a", b"1"), ("b/c", b"1"), ("b/d", b"1"))), tmp_path)
    unpack(io.BytesIO(packed(("a", b"2"), ("b/c", b"2"))), tmp_path)
    assert tree(tmp_path) == {"a": b"2", "b": None, "b/c": b"2"}
    (tmp_path / ".fetch-killed").mkdir()
    (tmp_path / ".fetch-killed/half").write_bytes(b"x")
    with pytest.raises(OccupiedFolderError, match="contains b, which is not part of this archive; use an empty folder"):
        unpack(io.BytesIO(packed(("a", b"3"))), tmp_path)
    assert tree(tmp_path) == {"a": b"2", "b": None, "b/c": b"2"}


def test_a_move_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a disk failure the former content remains."""
    unpack(io.BytesIO(packed(("a", b"1"), ("b", b"1"))), tmp_path)
    rename, calls = Path.rename, []

    def failing(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 4:
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no space left"):
        unpack(io.BytesIO(packed(("a", b"2"), ("b", b"2"))), tmp_path)
    assert tree(tmp_path) == {"a": b"1", "b": b"1"}


NAME = st.one_of(
    st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "é", "\\", "\n", "d" * 120]), min_size=1, max_size=4).map(
        "/".join
    ),
    st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8),
)
MEMBER = st.one_of(
    st.tuples(NAME, st.binary(max_size=600)),
    st.tuples(
        NAME,
        st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"Z"]),
        st.sampled_from(["a", "/etc/passwd", "../..", ""]),
    ),
)


def expected(members: Sequence[Any]) -> dict[str, bytes] | None:
    """Return the files of an archive with plain names of files and folders only, None if it must be rejected."""
    files: dict[tuple[str, ...], bytes] = {}
    folders: set[tuple[str, ...]] = set()
    declared: set[tuple[str, ...]] = set()
    for name, *rest in members:
        plain = len(rest) == 1 or rest[0] in (b"5", b"7")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        is_folder = len(rest) == 2 and rest[0] == b"5"
        absolute = (name.rstrip("/") if is_folder else name).startswith("/")
        if not plain or absolute or ".." in parts or "\\" in name or not name.isprintable():
            return None
        parents = {parts[:n] for n in range(len(parts))}
        if (
            parts in files
            or parts in declared
            or parents & set(files)
            or (not is_folder and (parts in folders or not parts))
        ):
            return None
        folders |= parents | ({parts} if is_folder else set())
        if is_folder:
            declared.add(parts)
        else:
            files[parts] = rest[0] if len(rest) == 1 else b""
    return {"/".join(parts): content for parts, content in files.items()} or None


@given(members=st.lists(MEMBER, max_size=5), form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
@settings(max_examples=100)
def test_whatever_is_packed_arrives_whole_or_not_at_all(members: Sequence[Any], form: int) -> None:
    """Plain files are extracted byte by byte; otherwise nothing changes."""
    members = [m for m in members if not (len(m) == 2 and m[0].endswith("/"))]
    with tempfile.TemporaryDirectory() as name:
        world, folder = Path(name), Path(name) / "opt" / "model"
        folder.mkdir(parents=True)
        (world / "a").write_bytes(b"outside")
        try:
            data = packed(*members, form=form)
        except (ValueError, UnicodeError):
            return
        want = expected(members)
        try:
            files = unpack(io.BytesIO(data), folder)
        except ArchiveError:
            assert want is None
            assert tree(folder) == {}
        else:
            found = {n: c for n, c in tree(folder).items() if c is not None}
            assert found == want
            assert files == tuple(sorted(found))
        assert tree(world)["a"] == b"outside"
        assert {entry.name for entry in world.iterdir()} == {"a", "opt"}


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), inside=st.booleans(), cut=st.booleans())
@settings(max_examples=100)
def test_a_changed_byte_is_refused_or_changes_one_file(position: int, value: int, inside: bool, cut: bool) -> None:
    """A flipped byte in gzip or tar, or a cut, gives an ArchiveError or files with plain names."""
    content = tar(("model.onnx", struct.pack("<100I", *range(100))), ("code/train.py", b"x" * 700))
    data = bytearray(content if inside else gzip.compress(content, mtime=0))
    data[position % len(data)] = value
    if cut:
        del data[position % len(data) :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        try:
            unpack(io.BytesIO(gzip.compress(data) if inside else data), folder)
        except ArchiveError:
            assert not folder.exists()
        else:
            assert all(path.is_dir() or path.is_file() for path in folder.rglob("*"))
            assert not any(path.is_symlink() for path in folder.rglob("*"))
        assert {entry.name for entry in Path(name).iterdir()} <= {"model"}


def test_gzip_streams_one_after_another_are_one_file(tmp_path: Path) -> None:
    """As pigz and bgzip write them: a gzip file is a series of members (RFC 1952, 2.2)."""
    whole = tar(("a", b"x" * 5000), ("b", b"y"))
    packed_in_parts = b"".join(gzip.compress(whole[at : at + 1000]) for at in range(0, len(whole), 1000))
    assert unpack(io.BytesIO(packed_in_parts), tmp_path / "model") == ("a", "b")
    assert (tmp_path / "model" / "a").read_bytes() == b"x" * 5000


def test_some_files_are_read_and_the_whole_archive_is_checked() -> None:
    """The rejections of `unpack` also apply to the other files."""
    files = ("./a", b"1"), ("b/c", b"2"), ("d", b"3")
    assert read(io.BytesIO(packed(*files)), ("a", "b/c", "e"), max_bytes=1) == {"a": b"1", "b/c": b"2"}
    with pytest.raises(BombError, match="'d' has 2 bytes, at most 1 are allowed"):
        read(io.BytesIO(packed(("d", b"33"))), ("d",), max_bytes=1)
    with pytest.raises(LinkError):
        read(io.BytesIO(packed(*files, ("z", tarfile.SYMTYPE, "/etc"))), ("a",), max_bytes=1)


def test_names_of_files_are_read_and_the_whole_archive_is_checked() -> None:
    """Sorted, without folders; a link among them is rejected."""
    files = ("b", tarfile.DIRTYPE, ""), ("b/model.bin", b"x"), ("a.txt", b"y")
    assert list(heads(io.BytesIO(packed(*files)), 3)) == ["a.txt", "b/model.bin"]
    with pytest.raises(LinkError):
        heads(io.BytesIO(packed(*files, ("z", tarfile.SYMTYPE, "/etc"))), 3)
