"""Split large capture objects into parts; every line belongs to exactly one part, wherever the boundaries are.

A part has the lines that begin in its byte range, so parts are derived from sizes alone and counted independently.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_runtime.monitor.counting.capture_lines import bounded_lines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 64 << 20
_CHUNK = 1 << 20
# bytes read ahead for the last line of a part, and bytes read at a time from an offset
_AHEAD, _SOME = 1 << 18, 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of an object that begin at byte ``start`` or later and before ``end``."""

    key: str  # key of the object
    start: int = 0  # first byte
    end: int | None = None  # first byte of the next part. Default: the object's end

    @property
    def is_whole(self) -> bool:
        """Whether the part is the whole object."""
        return self.start == 0 and self.end is None


def parts(sizes: Mapping[str, int], part_bytes: int = PART_BYTES) -> list[Part]:
    """Return the parts of objects, largest first; a small object is a single part.

    Example:
        >>> [(part.start, part.end) for part in parts({"a": 25}, 10)]
        [(0, 10), (10, 20), (20, None)]
    """
    found = [
        (min(part_bytes, size - start), Part(key, start, start + part_bytes if start + part_bytes < size else None))
        for key, size in sizes.items()
        for start in range(0, max(size, 1), part_bytes)
    ]
    return [part for _, part in sorted(found, key=lambda each: -each[0])]


def part_lines(s3: "S3Client", bucket: str, part: Part) -> Iterator[bytes]:
    """Yield a part's lines like ``MonitorStore.lines``, without reading the part into memory."""
    # the previous byte shows whether a line starts at the first byte
    begin = max(part.start - 1, 0)
    yield from bounded_lines(_of_part(_chunks(s3, bucket, part.key, begin, end=part.end, step=_AHEAD), begin, part))


def lines_from(s3: "S3Client", bucket: str, key: str, start: int) -> Iterator[bytes]:
    """Yield the lines that begin at or after a byte, reading little more than is consumed."""
    begin = max(start - 1, 0)
    chunks = _chunks(s3, bucket, key, begin, end=begin + _SOME, step=_SOME)
    yield from bounded_lines(_of_part(chunks, begin, Part(key, start)))


def _chunks(s3: "S3Client", bucket: str, key: str, begin: int, *, end: int | None, step: int) -> Iterator[bytes]:
    """Yield an object's bytes: up to ``end`` in one request, then in requests of ``step`` bytes as long as they are consumed."""
    while True:
        where: dict[str, Any] = (
            {} if begin == 0 and end is None else {"Range": f"bytes={begin}-{'' if end is None else end - 1}"}
        )
        answer = s3.get_object(Bucket=bucket, Key=key, **where)
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(_CHUNK)
        size = int(answer["ContentRange"].rpartition("/")[2]) if where else 0
        if end is None or end >= size:
            return
        begin, end = end, end + step


def _of_part(chunks: Iterable[bytes], position: int, part: Part) -> Iterator[bytes]:
    """Yield the bytes from ``position`` on, without the rest of the line before the part, up to the end of its last line."""
    is_ours = part.start == 0
    for chunk in chunks:
        left = chunk
        if not is_ours:
            head, end_of_line, left = chunk.partition(b"\n")
            position += len(head) + len(end_of_line)
            is_ours = bool(end_of_line)
            if not is_ours:
                continue
            if part.end is not None and position >= part.end:
                return
        last = -1 if part.end is None else left.find(b"\n", max(part.end - 1 - position, 0))
        if last >= 0:
            yield left[: last + 1]
            return
        position += len(left)
        yield left
