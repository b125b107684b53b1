"""The clock of the embedded cloud, which can be scaled and can jump.

It drives waits, retries and time limits of state machines, alarm periods, schedules, capture hours, metric stamps and event times.
Signatures, credentials, S3 and the visibility of queued messages use real time, because SDKs and workers do.

A :class:`Source` runs something at certain embedded times. Between jumps a thread runs all due sources. A jump walks from one due
time to the next: at each, the clock stops, the due sources run in order, and the jump waits for the functions that they invoked.
"""

import bisect
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from mlops_local import settings
from mlops_local.routes import ROUTES
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)

# limit of due times that one jump runs: a schedule every minute over two months
JUMP_LIMIT = 100_000
# longest sleep of waiting threads before they read the clock again, in real seconds
_GLANCE = 1.0
_STOP_GLANCE = 0.1


class ClockError(ValueError):
    """A scale or jump that the clock rejects."""


class Source(Protocol):
    """Something that happens at known embedded times."""

    def due(self, after: float) -> float | None:
        """Return the first time after ``after`` at which something is due, or ``None``."""

    def run(self, at: float) -> bool:
        """Run what is due at ``at``; return whether it started work that a jump should wait for."""


class Stop(Protocol):
    """Ends a wait early: a :class:`threading.Event`, or anything with ``is_set``."""

    def is_set(self) -> bool:
        """Return whether to stop."""


@dataclass(frozen=True, slots=True)
class _Segment:
    real: float  # epoch seconds
    embedded: float  # epoch seconds
    scale: float

    def at(self, real: float) -> float:
        return self.embedded + (real - self.real) * self.scale


_CHANGED = threading.Condition()
_SEGMENTS: list[_Segment] = [_Segment(time.time(), time.time(), settings.clock_scale)]
_SOURCES: list[Source] = []
# each returns what setting the clock back would break, or None
_GUARDS: list[Callable[[], str | None]] = []
# each blocks until all started work is done
_SETTLERS: list[Callable[[], None]] = []
_RUNNING = threading.RLock()  # a jump and the ticking thread never run sources concurrently
_PACING = threading.Lock()
_factor = settings.clock_scale
_working = 0
_waiting = 0
_file: Path | None = None
_ran = 0.0  # sources have run up to this time


def now() -> float:
    """Return the embedded time, in epoch seconds."""
    return _SEGMENTS[-1].at(time.time())


def utcnow() -> datetime:
    """Return the embedded time as an aware datetime."""
    return datetime.fromtimestamp(now(), UTC)


def iso(at: float | None = None) -> str:
    """Return epoch seconds, or now, in AWS's format, with milliseconds."""
    return (
        datetime.fromtimestamp(now() if at is None else at, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def scale() -> float:
    """Return embedded seconds per real second, ignoring holds."""
    return _factor


def pace() -> float:
    """Return the current embedded seconds per real second: at most one during a hold."""
    return min(_factor, 1.0) if _working else _factor


class Hold:
    """Limits the clock to real time during work of unknown duration, such as a server's start, for at most so many real seconds."""

    def __init__(self, limit: float) -> None:
        self._is_held = True
        _work(1)
        self._timer = threading.Timer(limit, self.release)
        self._timer.daemon = True
        self._timer.start()

    def release(self) -> None:
        """End the hold; further calls have no effect."""
        with _PACING:
            is_held, self._is_held = self._is_held, False
        if is_held:
            self._timer.cancel()
            _work(-1)


def _work(change: int) -> None:
    global _working  # noqa: PLW0603 - one clock per process
    with _PACING:
        _working += change
        if _SEGMENTS[-1].scale:  # a stopped clock is in a jump, which continues it at its end
            _append(_Segment(time.time(), now(), pace()))
    wake()


def at_real(real: float) -> float:
    """Return the embedded time at a real time, both in epoch seconds."""
    segments = _SEGMENTS
    index = bisect.bisect_right(segments, real, key=lambda segment: segment.real)
    return segments[max(index - 1, 0)].at(real)


def wait(seconds: float, stop: Stop | None = None) -> bool:
    """Block the calling thread for an embedded duration; a jump past its end resumes it.

    Args:
        seconds: Embedded seconds.
        stop: Ends the wait early when set. Default: the wait cannot be ended early.

    Returns:
        Whether the time passed; ``False`` if stopped early.
    """
    global _waiting  # noqa: PLW0603 - one clock per process
    deadline = now() + seconds
    with _CHANGED:
        _waiting += 1
        try:
            while (left := deadline - now()) > 0:
                if stop is not None and stop.is_set():
                    return False
                _CHANGED.wait(min(left / pace(), _GLANCE if stop is None else _STOP_GLANCE))
            return True
        finally:
            _waiting -= 1


def set_scale(factor: float) -> None:
    """Set the number of embedded seconds per real second.

    Raises:
        ClockError: If the factor is not between 0.001 and 100,000.
    """
    global _factor  # noqa: PLW0603 - one clock per process
    if not 0.001 <= factor <= 100_000:
        raise ClockError(f"scale must be between 0.001 and 100000, got {factor!r}")
    with _RUNNING:
        _factor = factor
        _set(now())
    LOGGER.info("clock: scale %g", factor)


def jump(to: float) -> int:
    """Move the clock, running everything due on the way, in order, each at its own time.

    The clock can be set back while nothing waits and nothing is scheduled, so that a demo may begin in a past year.

    Args:
        to: Epoch seconds.

    Returns:
        Number of due times that were run.

    Raises:
        ClockError: If the clock would be set back before a time that something depends on.
    """
    global _ran  # noqa: PLW0603 - one clock per process
    with _RUNNING:
        if to < now():
            problems = [problem for guard in _GUARDS if (problem := guard())]
            if _waiting:
                problems.append(f"{_waiting} waits are under way")
            if problems:
                raise ClockError(
                    f"the clock cannot be set back to {iso(to)}: {'; '.join(problems)}; set it back before they exist, or start "
                    "a new cloud"
                )
            _set(to)
            _ran = to
            LOGGER.info("clock: set back to %s", iso(to))
            return 0
        _set(now(), is_stopped=True)
        try:
            runs = _run_until(to, jumping=True)
        finally:
            _set(to)
        LOGGER.info("clock: jumped to %s, ran %d due times", iso(to), runs)
        return runs


def add_source(source: Source) -> None:
    """Register a source."""
    _SOURCES.append(source)
    wake()


def add_guard(guard: Callable[[], str | None]) -> None:
    """Register a guard: it returns a reason why the clock must not be set back, or ``None``."""
    _GUARDS.append(guard)


def add_settler(settler: Callable[[], None]) -> None:
    """Register a settler: a jump calls it before the next due time; it blocks until all started work is done."""
    _SETTLERS.append(settler)


def wake() -> None:
    """Make every waiting thread read the clock again."""
    with _CHANGED:
        _CHANGED.notify_all()


def _set(to: float, *, is_stopped: bool = False) -> None:
    with _PACING:
        _append(_Segment(time.time(), to, 0.0 if is_stopped else pace()))
    wake()


def _append(segment: _Segment) -> None:
    _SEGMENTS.append(segment)
    # separate server processes read this file; during a jump they see the time at which it began
    if _file is not None and segment.scale:
        part = _file.with_suffix(".part")
        part.write_text(json.dumps([segment.real, segment.embedded, segment.scale]))
        part.replace(_file)


def _next(after: float) -> tuple[float, list[Source]]:
    """Return the first time after ``after`` at which something is due, and its sources."""
    first, sources = float("inf"), list[Source]()
    for source in _SOURCES:
        due = source.due(after)
        if due is None or due > first:
            continue
        first, sources = due, [source] if due < first else [*sources, source]
    return first, sources


def _run_until(end: float, *, jumping: bool = False) -> int:
    """Run everything due up to ``end``; a jump first moves the clock to each due time, and waits for the started work."""
    global _ran  # noqa: PLW0603 - one clock per process
    runs = 0
    while True:
        due, sources = _next(_ran)
        if due > end:
            break
        if jumping and due > now():
            _set(due, is_stopped=True)
        active = False
        for source in sources:
            try:
                active = source.run(due) or active
            except Exception:
                LOGGER.exception("clock: %s failed at %s", type(source).__name__, iso(due))
        if jumping and active:
            for settler in _SETTLERS:
                settler()
        _ran = due
        runs += 1
        if runs == JUMP_LIMIT:
            LOGGER.error(
                "clock: more than %d times are due before %s; the remaining ones are skipped", JUMP_LIMIT, iso(end)
            )
            break
    _ran = max(_ran, end)
    return runs


def _tick() -> None:
    while True:
        with _RUNNING:
            _run_until(now())
            due, _ = _next(_ran)
        with _CHANGED:
            left = due - now()
            if left > 0:
                _CHANGED.wait(min(left / pace(), _GLANCE))


class EmbeddedTime:
    """Replaces the module ``time`` in a module on the embedded clock; only ``time()`` differs."""

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the real module."""
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        """Return the embedded time, in epoch seconds."""
        return now()


class EmbeddedDatetime(datetime):
    """Replaces the class ``datetime`` in a module on the embedded clock; only ``now`` differs."""

    @classmethod
    def now(cls, tz: Any = None) -> "EmbeddedDatetime":
        """Return the embedded time."""
        return cls.fromtimestamp(now(), tz)


def state() -> dict[str, object]:
    """Return the response of ``GET /_mlops/clock``."""
    return {"now": iso(), "epoch": now(), "scale": _factor, "waiting": _waiting}


def control(method: str, body: bytes) -> tuple[int, dict[str, object]]:
    """Serve ``/_mlops/clock``: GET, or POST of one of ``scale``, ``jump_by`` (seconds), ``jump_to`` (ISO 8601)."""
    if method == "GET":
        return 200, state()
    try:
        request = json.loads(body)
        match request:
            case {"scale": int() | float() as factor}:
                set_scale(factor)
                runs = 0
            case {"jump_by": int() | float() as seconds}:
                runs = jump(now() + seconds)
            case {"jump_to": str() as text}:
                moment = datetime.fromisoformat(text)
                runs = jump(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
            case _:
                raise ClockError(f"expected one of scale, jump_by (seconds), jump_to (ISO 8601), got {request!r}")
    except ValueError as error:
        return 400, {"message": str(error)}
    return 200, {**state(), "ran": runs}


def _save() -> dict[str, Any]:
    times = [[segment.real, segment.embedded, segment.scale] for segment in _SEGMENTS]
    return {"segments": times, "now": now(), "real": time.time(), "scale": _factor}


def _restore(saved: dict[str, Any]) -> None:
    """Continue at the saved time: embedded time stops while the cloud is down, so nothing is due in between.

    The scale is the saved one, unless the start sets another.
    """
    global _ran, _factor  # noqa: PLW0603 - one clock per process
    if settings.is_clock_scale_given is False:
        _factor = float(saved["scale"])
    with _PACING:
        stood = _Segment(saved["real"], saved["now"], 0.0)
        _SEGMENTS[:] = [*(_Segment(*times) for times in saved["segments"]), stood]
    _ran = float(saved["now"])
    _set(_ran)


kept_stores.keep_by(__name__, "_SEGMENTS", save=_save, restore=_restore)


def install() -> None:
    """Register the clock's address."""
    global _ran, _file
    ROUTES["/_mlops/clock"] = control
    _ran, _file = now(), settings.clock_file()
    _set(_ran)


def start() -> None:
    """Start the thread that runs due sources; call it after the state is restored."""
    threading.Thread(target=_tick, name="embedded-clock", daemon=True).start()
