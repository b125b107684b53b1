"""A model of erasures concurrent with builds of training sets: every interleaving of their steps and crashes.

A final state is bad if an erasure reported completion and a file contains rows of the entity. It is blocked if an
erasure waits
for an ended process. The steps are those of ``build_intent`` and ``entity_erasure``; `test_erasure_beside_builds` runs
the real
ones in the same orders.

Publishers to the online store have a model of their own, because they share only the table with builds. There a final
state is
also bad if a row delivered after the erasure's rewrite is marked as published and is not. `test_online_publication` has
the real
ones.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import pytest

T = TypeVar("T")
DEAD, ENDED, PENDING = -1, 99, 98


class Builder(NamedTuple):
    """A build: its next step and its effects."""

    step: int = 0
    reads: bool = False  # has rows of the entity
    intent: str = ""  # open or closed
    fence: str = ""  # of an erasure, or the build's own mark that it keeps its files
    file: bool = False  # a file with rows of the entity


class Eraser(NamedTuple):
    """An erasure: its next step and the listed builds."""

    step: int = 0
    listed: tuple[bool, ...] = ()


class World(NamedTuple):
    """All builds and erasures, the table, and the number of remaining crashes."""

    builders: tuple[Builder, ...]
    erasers: tuple[Eraser, ...]
    table: bool = True  # the current state has the rows
    old: bool = True  # an earlier state with them is readable
    crashes: int = 1


def builds(world: World) -> Iterator[World]:
    """Return the states after a step of each build; a build may request an old snapshot."""
    for place, b in enumerate(world.builders):
        if not 0 <= b.step < ENDED:
            continue
        after = [
            b._replace(step=1, intent="open"),
            b._replace(step=2, reads=world.old),
            b._replace(step=3) if world.old or not b.reads else b._replace(step=ENDED, intent="closed", reads=False),
            b._replace(step=4, file=b.reads),
            b._replace(step=7, file=False) if b.fence == "erasure" else b._replace(step=5, fence="own"),
            b._replace(step=6),  # the manifest, which has no rows
            b._replace(step=ENDED, intent="closed"),
            b._replace(step=ENDED, intent="closed"),  # of a fenced build
        ][b.step]
        yield world._replace(builders=changed(world.builders, place, after))
        if world.crashes:
            dead = changed(world.builders, place, b._replace(step=DEAD))
            yield world._replace(builders=dead, crashes=world.crashes - 1)


ORDER = ("rewrite", "expire", "list", "fence", "wait", "remove")


def erasures(world: World, order: Sequence[str] = ORDER, *, waits: bool = True) -> Iterator[World]:
    """Return the states after a step of each erasure; a crashed one restarts, a waiting one lists again, as ``maintain`` does."""
    for place, e in enumerate(world.erasers):
        if 0 <= e.step < len(order):
            after, rest = one_step(world, e, order[e.step], waits=waits)
            yield rest._replace(erasers=changed(rest.erasers, place, after))
        if e.step == PENDING and not any(map(writes, world.builders)):
            yield world._replace(erasers=changed(world.erasers, place, e._replace(step=order.index("list"))))
        if world.crashes and 0 <= e.step < len(order):
            yield world._replace(erasers=changed(world.erasers, place, Eraser()), crashes=world.crashes - 1)


def one_step(world: World, e: Eraser, step: str, *, waits: bool) -> tuple[Eraser, World]:
    """Return the erasure and the world after a step."""
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
    # of builds that no longer write: files are found by manifests, or because no manifest names them
    left = tuple(b if writes(b) else b._replace(file=False) for b in world.builders)
    return after._replace(step=ENDED), world._replace(builders=left)


def writes(b: Builder) -> bool:
    """Return whether a build is open and its process still runs."""
    return b.intent == "open" and b.step not in {DEAD, ENDED}


def changed(values: tuple[T, ...], place: int, value: T) -> tuple[T, ...]:
    """Return a tuple with another value at an index."""
    return (*values[:place], value, *values[place + 1 :])


def ours(world: World) -> Iterator[World]:
    """Do what the code does."""
    yield from builds(world)
    yield from erasures(world)


def without_waiting(world: World) -> Iterator[World]:
    """Complete an erasure without waiting for fenced builds."""
    yield from builds(world)
    yield from erasures(world, waits=False)


def listing_first(world: World) -> Iterator[World]:
    """List the builds before the snapshots are removed."""
    yield from builds(world)
    yield from erasures(world, ("rewrite", "list", "fence", "expire", "wait", "remove"))


def ends(model: Callable[[World], Iterator[World]], first: World) -> tuple[int, int, int]:
    """Return the number of states, of final states with rows left, and of states in which an erasure waits for ever."""
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
    """Holds for any number of builds and erasures and any crashes."""
    world = World((Builder(),) * builders, (Eraser(),) * erasers, crashes=crashes)
    states, left, blocked = ends(ours, world)
    assert states > 50
    assert (left, blocked) == (0, 0)


@pytest.mark.parametrize("model", [without_waiting, listing_first])
def test_other_orders_leave_rows(model: Callable[[World], Iterator[World]]) -> None:
    """Fences without waiting, and lists made before the snapshots are removed, leave rows."""
    assert ends(model, World((Builder(),), (Eraser(),)))[1] > 0


class Publisher(NamedTuple):
    """A publication: its next step and its knowledge."""

    step: int = 0
    fence: int = 0  # number of erasures that had fenced earlier readers when it began
    reads: tuple[bool, bool] = (False, False)  # the erased row, and the one delivered later


class Online(NamedTuple):
    """Publishers, one erasure, the table and the online store."""

    publishers: tuple[Publisher, ...] = (Publisher(), Publisher())
    eraser: int = 0
    table: tuple[bool, bool] = (True, False)
    rows: tuple[bool, bool] = (False, False)
    fences: int = 0
    is_delivered: bool = False
    is_out: bool = False  # the mark covers the later row
    crashes: int = 1


def publishes(
    world: Online, *, is_fenced: bool = True, checks: bool = False, marks_anyway: bool = False
) -> Iterator[Online]:
    """Return the states after a step of each publication: read the fence, read the table, put, check, mark.

    The row delivered later has an earlier event, so it does not replace the erased one.
    """
    for place, p in enumerate(world.publishers):
        if not 0 <= p.step < ENDED:
            continue
        after, rest = p._replace(step=p.step + 1), world
        if p.step == 0:
            after = after._replace(fence=world.fences)
        elif p.step == 1:
            after = after._replace(reads=world.table)
        elif p.step == 2:
            if is_fenced and p.fence != world.fences:
                after = Publisher()  # rejected by the store: read again
            else:
                has_old = world.rows[0] or p.reads[0]
                rest = world._replace(rows=(has_old, not has_old and (world.rows[1] or p.reads[1])))
        elif p.step == 3:
            if checks and p.reads[0] and not world.table[0]:
                rest = world._replace(rows=(False, world.rows[1]))
        elif is_fenced and p.fence != world.fences and not marks_anyway:
            after = Publisher()
        else:
            after, rest = p._replace(step=ENDED), world._replace(is_out=world.is_out or p.reads[1])
        yield rest._replace(publishers=changed(rest.publishers, place, after))
        if world.crashes:
            dead = changed(world.publishers, place, p._replace(step=DEAD))
            yield world._replace(publishers=dead, crashes=world.crashes - 1)


FORGETTING = ("rewrite", "fence", "forget", "fence", "lower")


def forgets(world: Online, order: Sequence[str] = FORGETTING, *, spares_later: bool = True) -> Iterator[Online]:
    """Return the states after a step of the erasure, which restarts after a crash; a row may be delivered after its rewrite."""
    if not world.table[0] and not world.is_delivered:
        yield world._replace(table=(False, True), is_delivered=True)
    if world.eraser >= len(order):
        return
    step, after = order[world.eraser], world._replace(eraser=world.eraser + 1)
    if step == "rewrite":
        yield after._replace(table=(False, world.table[1]))
    elif step == "fence":
        yield after._replace(fences=world.fences + 1)
    elif step == "forget":
        yield after._replace(rows=(False, world.rows[1] and spares_later))
    else:  # the mark: a later publication publishes rows delivered after the rewrite
        yield after._replace(is_out=False)
    if world.crashes:
        yield world._replace(eraser=0, crashes=world.crashes - 1)


def fenced(world: Online) -> Iterator[Online]:
    """Do what the code does."""
    yield from publishes(world)
    yield from forgets(world)


def checking(world: Online) -> Iterator[Online]:
    """Check for an erasure after the put, and undo it."""
    yield from publishes(world, is_fenced=False, checks=True)
    yield from forgets(world, ("rewrite", "forget", "lower"))


def fencing_last(world: Online) -> Iterator[Online]:
    """Forget before earlier readers are fenced."""
    yield from publishes(world)
    yield from forgets(world, ("rewrite", "forget", "fence", "lower"))


def fencing_first(world: Online) -> Iterator[Online]:
    """Fence earlier readers before the table is rewritten."""
    yield from publishes(world)
    yield from forgets(world, ("fence", "rewrite", "forget", "lower"))


def fencing_once(world: Online) -> Iterator[Online]:
    """Allow the mark to move by a publisher that could not put a later row because of the erased one."""
    yield from publishes(world)
    yield from forgets(world, ("rewrite", "fence", "forget", "lower"))


def leaving_the_mark(world: Online) -> Iterator[Online]:
    """Leave the mark above later rows that were not put because of the erased one."""
    yield from publishes(world)
    yield from forgets(world, FORGETTING[:-1])


def forgetting_all(world: Online) -> Iterator[Online]:
    """Also forget the entity's later rows, and leave the mark."""
    yield from publishes(world)
    yield from forgets(world, FORGETTING[:-1], spares_later=False)


def marking_anyway(world: Online) -> Iterator[Online]:
    """Mark rows as published although the fence came after the put."""
    yield from publishes(world, marks_anyway=True)
    yield from forgets(world)


def online_ends(model: Callable[[Online], Iterator[Online]], first: Online) -> tuple[int, int, int]:
    """Return the number of states, of final states with the erased row online, and of those with a later row lost."""
    seen, queue = {first}, deque([first])
    left = lost = 0
    while queue:
        world = queue.popleft()
        after = set(model(world))
        if not after:
            left += world.rows[0]
            lost += world.is_out and not world.rows[1]
        queue += after - seen
        seen |= after
    return len(seen), left, lost


@pytest.mark.parametrize(("publishers", "crashes"), [(1, 0), (1, 2), (2, 1)])
def test_no_publication_leaves_a_row_online_or_loses_a_later_one(publishers: int, crashes: int) -> None:
    """Holds for any number of publishers and any crashes: the store rejects rows read before the fence."""
    states, left, lost = online_ends(fenced, Online((Publisher(),) * publishers, crashes=crashes))
    assert states > 30
    assert (left, lost) == (0, 0)


@pytest.mark.parametrize(
    ("model", "leaves", "loses"),
    [
        (checking, True, True),
        (fencing_last, True, True),
        (fencing_first, True, True),
        (fencing_once, False, True),
        (leaving_the_mark, False, True),
        (forgetting_all, False, True),
        (marking_anyway, False, True),
    ],
)
def test_other_ways_to_publish_leave_rows_or_lose_them(
    model: Callable[[Online], Iterator[Online]], leaves: bool, loses: bool
) -> None:
    """A check after the put is too late for a killed publisher; a fence works only between rewrite and forgetting."""
    _, left, lost = online_ends(model, Online())
    assert (left > 0, lost > 0) == (leaves, loses)


class Client(NamedTuple):
    """An Athena build by a client whose end is unknown, and requests that S3 and Athena may carry out after it."""

    step: int = 0
    reads: bool = False  # has rows of the entity
    is_listed: bool = False  # its intent exists
    staged: str = ""  # missing, empty or with rows
    kept: str = ""  # the same of the file that a manifest would name
    answers: bool = False  # rows in Athena's unloaded result
    put: bool = False  # S3 has received a request and not carried it out
    copy: str = ""  # requested or read: a copy reads and writes in two steps
    query: str = ""  # requested or reading: likewise an Athena result


class Conditions(NamedTuple):
    """Additional conditions for an erasure that closes the intent itself."""

    on_staged: bool = True  # blocks replace empty ones that existed before the intent
    on_kept: bool = False  # so do the files named by a manifest
    waits_for_query: bool = False


class Unwatched(NamedTuple):
    """Such a build, one erasure, and whether rows are readable; the erasure never waits for the client."""

    client: Client = Client()
    eraser: int = 0
    old: bool = True
    crashes: int = 1


def unwatched(world: Unwatched, given: Conditions) -> Iterator[Unwatched]:
    """Return the states after each step of the client, of S3 and Athena, and of the erasure."""
    c = world.client
    after: list[Client] = []
    if c.step >= 0:
        empty = ("empty" if given.on_staged else "", "empty" if given.on_kept else "")
        steps = (
            c._replace(step=1, staged=empty[0], kept=empty[1]),
            c._replace(step=2, is_listed=True),
            c._replace(step=3, query="asked"),
            c._replace(step=4, reads=c.answers) if not c.query else c,
            c._replace(step=5, put=c.reads),
            c._replace(step=6, copy="asked") if not c.put else c,
            c._replace(step=ENDED) if not c.copy else c,
        )
        after += [steps[c.step]] if c.step < len(steps) else []
        if world.crashes:
            yield world._replace(client=c._replace(step=DEAD), crashes=world.crashes - 1)
    if c.put:
        is_refused = given.on_staged and not c.staged
        after.append(c._replace(put=False, staged=c.staged if is_refused else "rows"))
    if c.copy == "asked":
        after.append(c._replace(copy="read" if c.staged == "rows" else ""))
    if c.copy == "read":
        is_refused = given.on_kept and not c.kept
        after.append(c._replace(copy="", kept=c.kept if is_refused else "rows"))
    if c.query == "asked":
        after.append(c._replace(query="reading" if world.old else ""))
    if c.query == "reading":
        after.append(c._replace(query="", answers=True))
    yield from (world._replace(client=each) for each in after if each != c)
    if world.eraser == 0:
        yield world._replace(eraser=1, old=False)
    # a build without an intent yet reads none of the rows
    if world.eraser == 1 and not (given.waits_for_query and c.is_listed and c.query):
        gone = c._replace(staged="", kept="", answers=False) if c.is_listed else c
        yield world._replace(eraser=2, client=gone)


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        (Conditions(on_staged=False), True),
        (Conditions(), True),  # S3 has read a block for a copy and writes it later
        (Conditions(on_kept=True), True),  # Athena has read rows and writes its result later
        (Conditions(waits_for_query=True), True),
        (Conditions(on_staged=False, on_kept=True, waits_for_query=True), True),
        (Conditions(on_kept=True, waits_for_query=True), False),
    ],
)
def test_what_it_takes_to_close_a_build_whose_client_nothing_says_the_end_of(
    given: Conditions, *, leaves: bool
) -> None:
    """Conditional writes of blocks to S3 are not enough, neither for copies nor for Athena's results."""
    seen, queue = {Unwatched()}, deque([Unwatched()])
    left = 0
    while queue:
        world = queue.popleft()
        after = set(unwatched(world, given))
        c = world.client
        left += not after and (c.staged == "rows" or c.kept == "rows" or c.answers)
        queue += after - seen
        seen |= after
    assert len(seen) > 50
    assert (left > 0) == leaves
