"""Lock of a model's environment: every requirement is pinned, every file has a hash, and only wheels are used.

Its SHA-256 identifies the environment: the image that is built from it, the folder that the embedded cloud creates from it, and the
environment that a model's manifest requires. ``mlops image lock`` writes it with ``uv pip compile``, and its first lines have the
Python version and platform.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

# suggested in messages; writes a universal lock
LOCK_COMMAND = "mlops image lock (of requirements.in)"
# Python version of containers/model/Dockerfile, whose interpreter creates the environment in the image
IMAGE_PYTHON = "3.13"
_COMPILE = "uv pip compile --generate-hashes --only-binary :all:"
_FILES = "requirements.in -o requirements.lock"
COMPILE_COMMAND = f"{_COMPILE} --python-platform x86_64-manylinux_2_28 --python-version {IMAGE_PYTHON} {_FILES}"
# one lock for the image and for Python and platform of a developer's machine
UNIVERSAL_COMMAND = f"{_COMPILE} --universal --python-version 3.11 {_FILES}"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[A-Za-z0-9._, -]*\])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+-]*")
_HASH = re.compile(r"--hash=(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
_SEPARATORS = re.compile(r"[-_.]+")
_INDEXES = ("-i", "--index-url", "--extra-index-url")
_HEAD_LINES = 20
_MAX_PROBLEMS = 5
# uv's platform for each short name; https://docs.astral.sh/uv/reference/cli/#uv-pip-compile--python-platform
_BARE = {"linux": "x86_64-unknown-linux-gnu", "macos": "aarch64-apple-darwin", "windows": "x86_64-pc-windows-msvc"}


class RequirementsError(ValueError):
    """A lock is invalid; the message has each wrong line, and the command that writes a valid lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsLock:
    """A validated lock.

    Example:
        >>> lock = RequirementsLock.parsed(b"numpy==2.4.0 --hash=sha256:" + b"0" * 64)
        >>> lock.sha256[:8], lock.python
        ('12349a5b', None)
    """

    content: bytes
    sha256: str  # identifies the environment
    python: str | None = None  # its Python version (`3.13`), or the oldest one if it is universal. Default: unknown
    platform: str | None = None  # uv's name of its platform. Default: any, or unknown
    is_universal: bool = False  # whether it is valid for every platform and each Python from `python` on

    @classmethod
    def parsed(cls, content: bytes) -> "RequirementsLock":
        """Validate the lines of a lock.

        Raises:
            RequirementsError: With each requirement that is not pinned and hashed, is not from an index, or would be built.
        """
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequirementsError(f"the lock is not UTF-8 text: {error}; write it with: {LOCK_COMMAND}") from error
        lines = list(_logical_lines(text))
        problems = [problem for line in lines if (problem := _problem(line)) is not None]
        if not any(not line.startswith("-") for line in lines):
            problems.append("it names no package")
        if problems:
            more = len(problems) - _MAX_PROBLEMS
            shown = [*problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
            raise RequirementsError(f"{'; '.join(shown)}; write the lock with: {LOCK_COMMAND}")
        head = _options(text)
        platform = head.get("--python-platform")
        python = head.get("--python-version")
        return cls(
            content=content,
            sha256=hashlib.sha256(content).hexdigest(),
            python=None if python is None else ".".join(python.split(".")[:2]),
            platform=None if platform is None else _BARE.get(platform, platform),
            is_universal="--universal" in head,
        )

    @property
    def packages(self) -> dict[str, str]:
        """Version of each package by its normalized name.

        See: https://packaging.python.org/en/latest/specifications/name-normalization/

        Example:
            >>> RequirementsLock(content=b"Scikit_Learn==1.9.1 --hash=x", sha256="").packages
            {'scikit-learn': '1.9.1'}
        """
        lines = [line for line in _logical_lines(self.content.decode()) if not line.startswith("-")]
        pins = [line.split(" ")[0].partition(";")[0].partition("==") for line in lines]
        return {_SEPARATORS.sub("-", name.partition("[")[0].strip()).lower(): version for name, _, version in pins}

    def python_problem(self, python: str) -> str | None:
        """Return why the lock cannot be installed with this Python, given as major and minor version, or None.

        Example:
            >>> lock = RequirementsLock(content=b"", sha256="", python="3.13")
            >>> lock.python_problem("3.13") is None, lock.python_problem("3.11")
            (True, 'the lock is of Python 3.13, got 3.11')
        """
        if self.python is None or self.python == python:
            return None
        if not self.is_universal:
            return f"the lock is of Python {self.python}, got {python}"
        return (
            None
            if _numbers(python) >= _numbers(self.python)
            else f"the lock is of Python {self.python} or newer, got {python}"
        )

    def platform_problem(self, system: str, machine: str | None = None) -> str | None:
        """Return why the lock cannot be installed on this platform, or None.

        Args:
            system: ``linux`` (with glibc), ``darwin`` or ``win32``, as ``sys.platform``.
            machine: ``x86_64`` or ``aarch64``. Default: any.

        Example:
            >>> lock = RequirementsLock(content=b"", sha256="", platform="x86_64-manylinux_2_28")
            >>> lock.platform_problem("linux", "aarch64")
            "the lock is of platform 'x86_64-manylinux_2_28', got linux on aarch64"
        """
        if self.platform is None or self.is_universal:
            return None
        architecture, _, rest = self.platform.partition("-")
        fits = system == _system(rest) and machine in (None, architecture)
        given = system if machine is None else f"{system} on {machine}"
        return None if fits else f"the lock is of platform {self.platform!r}, got {given}"


def stand_in(sha256: str) -> str:
    """Return the placeholder digest of an image that is not built yet, by its lock's; only the embedded cloud runs it."""
    return f"sha256:{sha256}"


def asset_name(sha256: str) -> str:
    """Return the name, without extension, of a lock in the assets bucket, by its hash: CDK hashes a custom asset hash again."""
    return hashlib.sha256(sha256.encode()).hexdigest()


def _logical_lines(text: str) -> Iterator[str]:
    """Yield lines without comments, joined at trailing backslashes, like pip."""
    joined = ""
    for line in text.splitlines():
        kept = line.rstrip()
        if kept.lstrip().startswith("#"):
            continue
        kept = kept.partition(" #")[0]
        joined += kept.removesuffix("\\") + " "
        if not kept.endswith("\\"):
            if joined.strip():
                yield joined.strip()
            joined = ""
    if joined.strip():
        yield joined.strip()


def _problem(line: str) -> str | None:
    words = line.split()
    if line.startswith("-"):
        return _option_problem([part for word in words for part in word.split("=", 1)], line)
    hashes = [word for word in words if word.startswith("--")]
    requirement = " ".join(word for word in words if not word.startswith("--"))
    pinned = requirement.partition(";")[0].strip()
    name, is_pinned, version = (part.strip() for part in pinned.partition("=="))
    if "@" in pinned or "/" in pinned:
        return f"{pinned[:60]!r} comes from a URL or folder, a package of an index is expected"
    if not is_pinned or not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return f"{pinned[:60]!r} must be pinned as name==version"
    if not hashes or not all(map(_HASH.fullmatch, hashes)):
        return f"{pinned[:60]!r} must have --hash=sha256:<64 digits> and no other option"
    return None


def _option_problem(words: list[str], line: str) -> str | None:
    if words[0] in _INDEXES and len(words) == 2:
        parts = urlsplit(words[1])
        is_open = parts.scheme == "https" and "@" not in parts.netloc
        return None if is_open else f"{words[0]} must be https and contain no credentials"
    return None if words == ["--only-binary", ":all:"] else f"option {line[:60]!r} is not allowed"


def _options(text: str) -> dict[str, str]:
    """Return the options of the command in the comments at the beginning."""
    head = [line.lstrip("# ") for line in text.splitlines()[:_HEAD_LINES] if line.startswith("#")]
    words = [part for line in head for word in line.split() for part in word.split("=", 1)]
    return dict(pairwise([*words, ""]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _system(rest: str) -> str:
    if "manylinux" in rest or rest.endswith("linux-gnu"):
        return "linux"
    return "darwin" if "apple" in rest else rest
