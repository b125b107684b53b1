"""The order of an erasure beside builds of training sets, as a model: every interleaving of their steps and of crashes.

A state is bad if all have ended, an erasure has said that it is complete, and rows of the entity lie in a file. It is blocked if an
erasure waits for what has ended. The steps are those of ``build_intent`` and ``entity_erasure``; `test_erasure_beside_builds` takes
the real ones through the same orders.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import pytest

T = TypeVar("T")
DEAD, ENDED, PENDING = -1, 99, 98


class Builder(NamedTuple):
    """A build: its next step, and what it has left behind."""

    step: int = 0
    reads: bool = False  # holds rows of the entity
    intent: str = ""  # open, closed
    fence: str = ""  # of an erasure, or its own mark that it keeps its files
    file: bool = False  # rows of the entity in a file


class Eraser(NamedTuple):
    """An erasure: its next step, and the builds that it has listed."""

    step: int = 0
    listed: tuple[bool, ...] = ()


class World(NamedTuple):
    """All of them, the table, and how many may still crash."""

    builders: tuple[Builder, ...]
    erasers: tuple[Eraser, ...]
    table: bool = True  # the current state has the rows
    old: bool = True  # an earlier state with them can be read
    crashes: int = 1


def builds(world: World) -> Iterator[World]:
    """Return what a step of each build leads to; a build may ask for an old snapshot."""
    for place, b in enumerate(world.builders):
        if not 0 <= b.step < ENDED:
            continue
        after = [
            b._replace(step=1, intent="open"),
            b._replace(step=2, reads=world.old),
            b._replace(step=3) if world.old or not b.reads else b._replace(step=ENDED, intent="closed", reads=False),
            b._replace(step=4, file=b.reads),
            b._replace(step=7, file=False) if b.fence == "erasure" else b._replace(step=5, fence="own"),
            b._replace(step=6),  # the manifest, which holds no rows
            b._replace(step=ENDED, intent="closed"),
            b._replace(step=ENDED, intent="closed"),  # of a build that was fenced
        ][b.step]
        yield world._replace(builders=changed(world.builders, place, after))
        if world.crashes:
            dead = changed(world.builders, place, b._replace(step=DEAD))
            yield world._replace(builders=dead, crashes=world.crashes - 1)


ORDER = ("rewrite", "expire", "list", "fence", "wait", "remove")


def erasures(world: World, order: Sequence[str] = ORDER, *, waits: bool = True) -> Iterator[World]:
    """Return what a step of each erasure leads to; one that crashed begins anew, one that waits lists again, as ``maintain``."""
    for place, e in enumerate(world.erasers):
        if 0 <= e.step < len(order):
            after, rest = one_step(world, e, order[e.step], waits=waits)
            yield rest._replace(erasers=changed(rest.erasers, place, after))
        if e.step == PENDING and not any(map(writes, world.builders)):
            yield world._replace(erasers=changed(world.erasers, place, e._replace(step=order.index("list"))))
        if world.crashes and 0 <= e.step < len(order):
            yield world._replace(erasers=changed(world.erasers, place, Eraser()), crashes=world.crashes - 1)


def one_step(world: World, e: Eraser, step: str, *, waits: bool) -> tuple[Eraser, World]:
    """Return the erasure after a step, and the rest of the world."""
    after = e._replace(step=e.step + 1)
    listed = tuple(zip(world.builders, e.listed, strict=False))
    if step == "rewrite":
        return after, world._replace(table=False)
    if step == "expire":
        return after, world._replace(old=False)
    if step == "list":
        return after._replace(listed=tuple(b.intent == "open" for b in world.builders)), world
    if step == "fence":
        fenced = tuple(b._replace(fence=b.fence or "erasure") if is_listed else b for b, is_listed in listed)
        return after, world._replace(builders=fenced)
    if step == "wait":
        is_waiting = waits and any(is_listed and writes(b) for b, is_listed in listed)
        return e._replace(step=PENDING) if is_waiting else after, world
    # of builds that do not write any more: files are found by manifests, or because none names them
    left = tuple(b if writes(b) else b._replace(file=False) for b in world.builders)
    return after._replace(step=ENDED), world._replace(builders=left)


def writes(b: Builder) -> bool:
    """Return whether a build is open and its process has not ended."""
    return b.intent == "open" and b.step not in {DEAD, ENDED}


def changed(values: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    """Return a tuple with another value at a place."""
    return (*values[:place], value, *values[place + 1 :])


def ours(world: World) -> Iterator[World]:
    """Do what the code does."""
    yield from builds(world)
    yield from erasures(world)


def without_waiting(world: World) -> Iterator[World]:
    """Complete an erasure without waiting for the builds that it fenced."""
    yield from builds(world)
    yield from erasures(world, waits=False)


def listing_first(world: World) -> Iterator[World]:
    """List the builds before the snapshots go."""
    yield from builds(world)
    yield from erasures(world, ("rewrite", "list", "fence", "expire", "wait", "remove"))


def ends(model: Callable[[World], Iterator[World]], first: World) -> tuple[int, int, int]:
    """Return how many states there are, how many ends with rows left, and how many in which an erasure waits for ever."""
    seen, queue = {first}, deque([first])
    left = blocked = 0
    while queue:
        world = queue.popleft()
        after = set(model(world))
        if not after:
            is_complete = any(e.step == ENDED for e in world.erasers)
            left += is_complete and any(b.file for b in world.builders)
            blocked += any(e.step == PENDING for e in world.erasers)
        queue += after - seen
        seen |= after
    return len(seen), left, blocked


@pytest.mark.parametrize(("builders", "erasers", "crashes"), [(1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 1, 1), (1, 2, 1)])
def test_no_interleaving_leaves_rows_or_waits_for_ever(builders: int, erasers: int, crashes: int) -> None:
    """However many builds and erasures there are, and whichever crashes when."""
    world = World((Builder(),) * builders, (Eraser(),) * erasers, crashes=crashes)
    states, left, blocked = ends(ours, world)
    assert states > 50
    assert (left, blocked) == (0, 0)


@pytest.mark.parametrize("model", [without_waiting, listing_first])
def test_other_orders_leave_rows(model: Callable[[World], Iterator[World]]) -> None:
    """Fences alone are not enough, and a list that was made before the snapshots went is too short."""
    assert ends(model, World((Builder(),), (Eraser(),)))[1] > 0
