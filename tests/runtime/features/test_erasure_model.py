"""The order of an erasure beside builds of training sets, as a model: every interleaving of their steps and of crashes.

A state is bad if all have ended, an erasure has said that it is complete, and rows of the entity lie in a file. It is blocked if an
erasure waits for what has ended. The steps are those of ``build_intent`` and ``entity_erasure``; `test_erasure_beside_builds` takes
the real ones through the same orders.

Publishers to the online store are a world of their own, as they share with builds the table alone: there an end is bad also if a
row that was delivered after the erasure's rewrite is said to be out and is not. `test_online_publication` has the real ones.
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


class Publisher(NamedTuple):
    """A publication: its next step, and what it knows."""

    step: int = 0
    fence: int = 0  # how many erasures had barred earlier readers when it began
    reads: tuple[bool, bool] = (False, False)  # the erased row, the one that was delivered later


class Online(NamedTuple):
    """Publishers, one erasure, the table and the online store."""

    publishers: tuple[Publisher, ...] = (Publisher(), Publisher())
    eraser: int = 0
    table: tuple[bool, bool] = (True, False)
    rows: tuple[bool, bool] = (False, False)
    fences: int = 0
    is_delivered: bool = False
    is_out: bool = False  # the mark says that the later row is out
    crashes: int = 1


def publishes(
    world: Online, *, is_fenced: bool = True, checks: bool = False, marks_anyway: bool = False
) -> Iterator[Online]:
    """Return what a step of each publication leads to: read the fence, read the table, put, check, mark.

    The row that was delivered later has an earlier event, so it is not put over the erased one.
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
                after = Publisher()  # refused by the store itself: read again
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
    """Return what a step of the erasure leads to, which begins anew after a crash; a row may be delivered after its rewrite."""
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
    else:  # the mark: a later publication brings what came after the rewrite
        yield after._replace(is_out=False)
    if world.crashes:
        yield world._replace(eraser=0, crashes=world.crashes - 1)


def fenced(world: Online) -> Iterator[Online]:
    """Do what the code does."""
    yield from publishes(world)
    yield from forgets(world)


def checking(world: Online) -> Iterator[Online]:
    """Look for an erasure after the put, and withdraw."""
    yield from publishes(world, is_fenced=False, checks=True)
    yield from forgets(world, ("rewrite", "forget", "lower"))


def fencing_last(world: Online) -> Iterator[Online]:
    """Forget before those are barred who read earlier."""
    yield from publishes(world)
    yield from forgets(world, ("rewrite", "forget", "fence", "lower"))


def fencing_first(world: Online) -> Iterator[Online]:
    """Bar those who read earlier before the table is rewritten."""
    yield from publishes(world)
    yield from forgets(world, ("fence", "rewrite", "forget", "lower"))


def fencing_once(world: Online) -> Iterator[Online]:
    """Let the mark be moved by who could not put a later row as the erased one was there."""
    yield from publishes(world)
    yield from forgets(world, ("rewrite", "fence", "forget", "lower"))


def leaving_the_mark(world: Online) -> Iterator[Online]:
    """Leave it above later rows that were not put as the erased one was there."""
    yield from publishes(world)
    yield from forgets(world, FORGETTING[:-1])


def forgetting_all(world: Online) -> Iterator[Online]:
    """Forget the entity's later rows as well, and leave the mark."""
    yield from publishes(world)
    yield from forgets(world, FORGETTING[:-1], spares_later=False)


def marking_anyway(world: Online) -> Iterator[Online]:
    """Say that rows are out though the fence came after the put."""
    yield from publishes(world, marks_anyway=True)
    yield from forgets(world)


def online_ends(model: Callable[[Online], Iterator[Online]], first: Online) -> tuple[int, int, int]:
    """Return how many states there are, how many ends with the erased row online, and how many in which a later row is lost."""
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
    """However many publish at once, and whichever crashes when: the store refuses who read before it was barred."""
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
    """A look after the put is too late for who is killed before; a fence counts between rewrite and forgetting alone."""
    _, left, lost = online_ends(model, Online())
    assert (left > 0, lost > 0) == (leaves, loses)


class Client(NamedTuple):
    """A build by Athena whose client nothing says the end of, and what S3 and Athena do for it, even after its end."""

    step: int = 0
    reads: bool = False  # holds rows of the entity
    is_listed: bool = False  # its intent stands
    staged: str = ""  # nothing, empty, rows
    kept: str = ""  # the same of the file that a manifest would name
    answers: bool = False  # rows in what Athena unloads
    put: bool = False  # a request that S3 has and has not carried out
    copy: str = ""  # asked, read: a copy is read and written in two steps
    query: str = ""  # asked, reading: so is an answer of Athena


class Conditions(NamedTuple):
    """What else is done for an erasure that closes the intent by itself."""

    on_staged: bool = True  # blocks are written over empty ones that stood before the intent
    on_kept: bool = False  # so are the files that a manifest names
    waits_for_query: bool = False


class Unwatched(NamedTuple):
    """One such build, one erasure, and whether rows can be read; the erasure never waits for the client."""

    client: Client = Client()
    eraser: int = 0
    old: bool = True
    crashes: int = 1


def unwatched(world: Unwatched, given: Conditions) -> Iterator[Unwatched]:
    """Return what each step leads to: of the client, of S3 and Athena, and of the erasure."""
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
    # a build that has no intent yet reads none of the rows
    if world.eraser == 1 and not (given.waits_for_query and c.is_listed and c.query):
        gone = c._replace(staged="", kept="", answers=False) if c.is_listed else c
        yield world._replace(eraser=2, client=gone)


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        (Conditions(on_staged=False), True),
        (Conditions(), True),  # S3 has read a block for a copy, and writes it afterwards
        (Conditions(on_kept=True), True),  # Athena has read rows, and writes its answer afterwards
        (Conditions(waits_for_query=True), True),
        (Conditions(on_staged=False, on_kept=True, waits_for_query=True), True),
        (Conditions(on_kept=True, waits_for_query=True), False),
    ],
)
def test_what_it_takes_to_close_a_build_whose_client_nothing_says_the_end_of(
    given: Conditions, *, leaves: bool
) -> None:
    """Blocks that S3 writes on a condition alone are not enough: neither for copies nor for what Athena writes."""
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
