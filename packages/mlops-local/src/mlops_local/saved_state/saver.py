"""Saves the state of the embedded cloud, periodically and on request, and restores it at the start.

A snapshot is made in a fork of the process: it is the state of one instant, and requests only wait for the fork, a few
milliseconds. A killed cloud loses the changes since the last snapshot.
"""

import gc
import json
import logging
import os
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_local import clock, settings
from mlops_local.routes import ROUTES, Application, Receive, Scope, Send
from mlops_local.sagemaker import call_records
from mlops_local.saved_state import interruptions, kept_stores, ministack_stores, plain_data, snapshot_files
from mlops_local.saved_state.kept_stores import Kept
from mlops_local.saved_state.snapshot_files import SnapshotError

LOGGER = logging.getLogger(__name__)

# minimum real seconds between two snapshots; longer if a snapshot takes long, see `_pause`
INTERVAL = 30.0
_SHARE = 50  # saving takes at most 1/_SHARE of the time
_LIMIT = 300.0  # real seconds after which a fork is killed
_FORGET = "delete the state with `mlops local down --forget`"
_SETTLE = 2.0  # longest wait for metrics and captures of the last calls, in real seconds
_START_LIMIT = 600.0  # longest clock hold at the start, in real seconds
_ADDRESS = "/_mlops/state"
_READING = ("Get", "List", "Describe", "BatchGet", "Query", "Scan", "Head", "Filter", "Lookup", "Validate", "Simulate")


@dataclass(slots=True)
class _Saver:
    """State of the snapshots in this run."""

    is_changed: bool = False
    was_busy: bool = False  # work was in progress at the last snapshot, and continues without requests
    is_ready: bool = False
    has_ended: bool = False
    last: dict[str, Any] | None = None
    problem: str = ""
    restored: dict[str, Any] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_SAVER = _Saver()


class SaveError(RuntimeError):
    """The state cannot be saved; the message gives the reason. The previous snapshot is unchanged."""


def folder() -> Path:
    """Return the folder of snapshots."""
    return settings.home.absolute().parent / "saved"


def with_changes(application: Application) -> Application:
    """Return an ASGI application that records whether requests may have changed the state."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_change(scope):
            await application(scope, receive, send)
            return
        _SAVER.is_changed = True
        try:
            await application(scope, receive, send)
        finally:
            _SAVER.is_changed = True  # its change may have missed a snapshot that was made meanwhile

    return serve


def _may_change(scope: Scope) -> bool:
    if scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"] == _ADDRESS:
        return False
    target = next((value for name, value in scope["headers"] if name == b"x-amz-target"), b"").decode("latin-1")
    return not target.rpartition(".")[2].startswith(_READING)


def save() -> dict[str, Any]:
    """Save the state now; return time, size in bytes, duration in real seconds, and errors of stores that could not be written.

    Raises:
        SaveError: If it cannot be written, for example because the disk is full.
    """
    with _SAVER.lock:
        began = time.monotonic()
        _SAVER.is_changed, _SAVER.was_busy = False, bool(interruptions.under_way())
        try:
            written = _in_fork(_write)
        except SaveError as error:
            _SAVER.is_changed, _SAVER.problem = True, str(error)
            raise
        seconds = round(time.monotonic() - began, 3)
        _SAVER.last, _SAVER.problem = {**written, "seconds": seconds}, "; ".join(written["left_out"])
        LOGGER.info("state saved: %d bytes in %.2f s", written["bytes"], seconds)
        for problem in written["left_out"]:
            LOGGER.error("state: %s", problem)
        return dict(_SAVER.last)


def _stores() -> dict[str, Kept]:
    # ours first: a load balancer's ports are known before the load balancer
    return kept_stores.kept() | {f"ministack.{name}": store for name, store in ministack_stores.kept().items()}


def _write() -> dict[str, Any]:
    writer, stores, left_out = snapshot_files.Writer(folder()), {}, []
    for name, store in _stores().items():
        try:
            stores[name] = plain_data.written(store.save(), writer.keep)
        except plain_data.PlainDataError as error:
            left_out.append(f"{name} cannot be saved: {error}")
    size = writer.finish(settings.port, stores)
    return {"saved": clock.iso(), "bytes": size, "left_out": left_out}


def _in_fork(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of ``work`` in a fork of this process, in which no other threads run.

    Raises:
        SaveError: If it fails, or does not end in time.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of locks that other threads hold; the fork acquires none of ours
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _run_fork(work, writer)
    os.close(writer)
    deadline, answer = time.monotonic() + _LIMIT, b""
    try:
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(reader, 65_536)
            if not part:
                break
            answer += part
        else:
            os.kill(pid, signal.SIGKILL)
            raise SaveError(f"saving took more than {_LIMIT:.0f} s")
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    result: dict[str, Any] = json.loads(answer or b'{"error": "the process that saves was ended"}')
    if "error" in result:
        raise SaveError(result["error"])
    return result


def _run_fork(work: Callable[[], dict[str, Any]], writer: int) -> None:
    try:
        gc.disable()  # no finalizers of objects that another thread was using
        answer = json.dumps(work())
    except BaseException as error:
        message = (
            f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        )
        answer = json.dumps({"error": message})
    try:
        with os.fdopen(writer, "wb", closefd=False) as pipe:
            pipe.write(answer.encode())
    finally:
        os._exit(0)


def restore() -> None:
    """Restore the saved state; called before the cloud responds.

    Raises:
        SnapshotError: If the saved state cannot be read or restored.
    """
    found = snapshot_files.read(folder())
    if found is None:
        return
    if found.problem:
        LOGGER.error("state: %s; the snapshot before it is restored", found.problem)
    old, new = f"127.0.0.1:{found.snapshot.port}", f"127.0.0.1:{settings.port}"
    reader = plain_data.Reader(found.files.__getitem__, {} if old == new else {old: new})
    known = kept_stores.kept()
    for name, plain in found.snapshot.stores.items():
        service = name.removeprefix("ministack.")
        store = known.get(name) if service == name else ministack_stores.kept_as(service)
        if store is None:
            raise SnapshotError(f"unknown store {name}")
        try:
            store.restore(reader.read(plain))
        except (plain_data.PlainDataError, kept_stores.StoreError, LookupError, TypeError, ValueError) as error:
            raise SnapshotError(f"the store {name} cannot be restored ({type(error).__name__}: {error})") from error
    _SAVER.restored = {"saved": found.snapshot.saved, "problem": found.problem, "interrupted": [], "failed": []}
    LOGGER.info("state of %s restored", found.snapshot.saved)


def install() -> None:
    """Register the address; see ``control``."""
    ROUTES[_ADDRESS] = control


def start() -> None:
    """Restart what was running, on a separate thread because that calls the cloud; then save periodically."""
    threading.Thread(target=_run, name="saved state", daemon=True).start()


def _run() -> None:
    if _SAVER.restored is not None:
        hold = clock.Hold(_START_LIMIT)
        try:
            _SAVER.restored["failed"] = _restart()
            _SAVER.restored["interrupted"] = interruptions.end_all()
        except Exception:
            LOGGER.exception("interrupted work cannot be ended")
        finally:
            hold.release()
    _SAVER.is_ready = True
    pause = threading.Event()
    while True:
        pause.wait(_pause())
        if _is_due():
            try:
                save()
            except SaveError as error:
                LOGGER.error("the state cannot be saved: %s", error)  # noqa: TRY400 - the traceback is the fork's, and adds nothing


def _is_due() -> bool:
    return (_SAVER.is_changed or _SAVER.was_busy) and not _SAVER.has_ended


def _restart() -> list[str]:
    problems = []
    ministack_stores.restart()
    for name, store in kept_stores.kept().items():
        if store.restart is None:
            continue
        try:
            problems += store.restart()
        except Exception as error:
            LOGGER.exception("%s does not start again", name)
            problems.append(f"{name}: {type(error).__name__}: {error}")
    return problems


def _pause() -> float:
    last = 0.0 if _SAVER.last is None else float(_SAVER.last["seconds"])
    return max(INTERVAL, last * _SHARE)


def state() -> dict[str, Any]:
    """Return the response of ``GET /_mlops/state``: work in progress, stores not saved, last and restored snapshot."""
    lost = {**ministack_stores.left(), **kept_stores.left()}
    return {
        "is_ready": _SAVER.is_ready,
        "restored": _SAVER.restored,
        "last": _SAVER.last,
        "problem": _SAVER.problem,
        "under_way": interruptions.under_way(),
        "not_kept": sorted({entry.why for entry in lost.values() if entry.is_named and entry.store}),
    }


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/state``: GET; POST ``"save"``, ``"end"`` (save a last time), or ``"forget"`` (save no more)."""
    if method == "GET":
        return 200, state()
    request = json.loads(body or b"null")
    if request not in ("save", "end", "forget"):
        return 400, {"message": f'expected "save", "end" or "forget", got {request!r}'}
    _SAVER.has_ended = request == "forget"
    if _SAVER.has_ended:
        return 200, {}
    call_records.settle(_SETTLE)
    try:
        saved = save()
    except SaveError as error:
        return 507, {
            "message": f"the state cannot be saved to {folder()}: {error}; free space and repeat, or {_FORGET}"
        }
    if request == "end" and saved["left_out"]:
        return 507, {"message": f"{'; '.join(saved['left_out'])}; the cloud still runs: repeat, or {_FORGET}"}
    _SAVER.has_ended = request == "end"
    return 200, saved


def save_at_end() -> None:
    """Save changes since the last snapshot when a signal ends the cloud's process."""
    if _SAVER.has_ended or not _SAVER.is_ready:
        return
    try:
        save()
    except SaveError as error:
        LOGGER.error("the state cannot be saved: %s", error)  # noqa: TRY400 - the traceback is the fork's, and adds nothing
