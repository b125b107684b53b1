"""Copy of an audit chain in a folder: written for auditors, verified without AWS."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_cli.aws_account import UserError, writing
from mlops_runtime.contracts.rollout import LockRow
from mlops_runtime.rollout.audit_chain import verify
from mlops_runtime.rollout.kept_minutes import broken_minutes
from mlops_runtime.rollout.passport import broken_passports
from mlops_runtime.rollout.seals import PublicKey, PublicKeyError, broken_seals, newest_head

KEY_FILE = "public-key.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOfChain:
    """The objects of one chain."""

    name: str  # the endpoint or unit
    objects: Mapping[str, bytes]  # records and seals by key
    published: Mapping[str, bytes] | None  # published heads by key; `None` if the copy has none
    passports: Mapping[str, bytes] | None = None  # passports by key; `None` if the copy has none
    minutes: Mapping[str, bytes] | None = None  # minutes of verdicts by key; `None` if the copy has none

    @classmethod
    def read(cls, name: str, folder: Path) -> "CopyOfChain":
        """Read a folder written by ``write``, a copy of the whole bucket, or a copy of the chain's prefix only.

        Raises:
            UserError: If it is not a folder.
        """
        if not folder.is_dir():
            raise UserError(f"--folder must be a folder, got {folder}")
        own, heads, passports, minutes = (folder / kind / name for kind in ("audit", "heads", "passports", "minutes"))
        return cls(
            name=name,
            objects=_contents(own if own.is_dir() else folder, f"audit/{name}/"),
            published=_contents(heads, f"heads/{name}/") if heads.is_dir() else None,
            passports=_contents(passports, f"passports/{name}/") if passports.is_dir() else None,
            minutes=_contents(minutes, f"minutes/{name}/") if minutes.is_dir() else None,
        )

    def write(self, folder: Path, key: PublicKey) -> None:
        """Write the copy and the public key that verifies its seals.

        Raises:
            UserError: If the folder is not empty, or cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"--output must be a new or an empty folder, got {folder}")
        files = {
            **self.objects,
            **(self.published or {}),
            **(self.passports or {}),
            **(self.minutes or {}),
            KEY_FILE: key.pem.encode(),
        }
        with writing(folder):
            for path, content in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def problems(self, key: PublicKey | None, *, head: str | None, sequence: int | None) -> tuple[list[str], int]:
        """Return the problems of the copy, and the sequence up to which it was checked.

        Args:
            key: The signing key. Without one no signature is checked.
            head: SHA-256 of the newest record; with ``sequence`` it takes precedence over the newest published head.
            sequence: Sequence of the newest record.

        Raises:
            UserError: If neither the arguments nor a published head give the end of the chain.
        """
        if key is not None and head is None and sequence is None and self.published:
            sequence, head = newest_head(self.published, self.name, key.is_signed)
        problems = []
        if head is None or not re.fullmatch(r"[0-9a-f]{64}|", head):
            problems.append(f"--head must be 64 hexadecimal digits, got {head!r}")
        if sequence is None:
            problems.append("--sequence must be given")
        if problems or head is None or sequence is None:
            fix = (
                "give --public-key and a folder written by mlops audit export, which has the published heads; or read head and "
                f"sequence from the row instead of the copy: mlops audit show {self.name} --json"
            )
            raise UserError("; ".join([*problems, fix]))
        row = LockRow(endpoint=self.name, audit_head=head, audit_sequence=sequence)
        found = verify(self.objects, endpoint=self.name, head=head, sequence=sequence)
        if key is not None:
            found += broken_seals(self.objects, self.published, row=row, is_signed=key.is_signed)
            if self.published is not None:  # written by ``write``, so passports are complete
                found += broken_passports(self.objects, self.passports or {}, is_signed=key.is_signed)
        if self.published is not None or self.minutes is not None:
            found += broken_minutes(self.objects, self.minutes or {})
        return found, sequence


def read_key(path: Path) -> PublicKey:
    """Read a PEM file of a public key.

    Raises:
        UserError: If the file cannot be read or is not a P-256 public key.
    """
    try:
        return PublicKey.from_pem(path.read_text())
    except (OSError, UnicodeDecodeError, PublicKeyError) as error:
        raise UserError(f"--public-key must be a PEM file of a P-256 public key, got {path}: {error}") from error


def _contents(folder: Path, prefix: str) -> dict[str, bytes]:
    return {
        prefix + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
