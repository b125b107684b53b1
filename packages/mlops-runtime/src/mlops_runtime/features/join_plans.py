"""The two plans of a point-in-time join as DuckDB SQL, and the choice of the cheaper one.

``frontier``: ordered by availability, only rows that raise the running maximum of the event time can be the result, and of those
only the last at each time. The rest is one as-of join, so that entity rows are not joined with their key's whole history. For equal
event times the order of availability is the order of ``created_time``, so the maximum of the event time alone is exact.

``fan_out``: joins each entity row with the rows of its key within the time to live, and keeps the best. It is cheaper for few such
rows, because only they are sorted.

Measured on two cores with 1,000,000 feature rows, CPU seconds of frontier and fan_out by joined pairs: with 100,000 entity rows
0.58 and 0.24 at 500,000 pairs, 0.57 and 0.44 at 1,000,000, 0.63 and 0.84 at 2,000,000, 0.62 and 1.40 at 4,000,000; with 500,000
entity rows 0.76 and 0.44 at 750,000, 0.75 and 1.06 at 2,500,000. The costs are equal at 1.1 to 1.5 pairs per entity row and feature
row. At 1, fan_out is cheaper, and never produces more rows than the inputs have.
"""

from dataclasses import dataclass
from typing import Literal

Semantics = Literal["known_at", "event_time"]
Plan = Literal["frontier", "fan_out"]

FAN_OUT_PAIRS = 1.0  # per entity row and feature row


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Parameters of a query: columns ``k0``... and ``v0``..., and the time to live in microseconds."""

    keys: int
    values: int
    ttl: int | None
    ttl_inclusive: bool = True

    @property
    def key_list(self) -> str:
        """The key columns, separated by commas."""
        return ", ".join(f"k{i}" for i in range(self.keys))

    @property
    def value_list(self) -> list[str]:
        """The value columns, in order."""
        return [f"v{i}" for i in range(self.values)]

    def same_key(self, right: str) -> str:
        """Return the condition that an entity row and a row of ``right`` have the same key."""
        return " and ".join(f"entity.k{i} = {right}.k{i}" for i in range(self.keys))

    def alive(self, event: str) -> str:
        """Return the condition that a value is within its time to live at an entity row's time."""
        if self.ttl is None:
            return "true"
        if self.ttl_inclusive:
            return f"entity.until - {event} <= {self.ttl}"
        return f"entity.at - {event} < {self.ttl}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Statistics of the rows, for the choice of a plan."""

    entity_rows: int  # number of entity rows
    rows: int  # number of feature rows
    keys: int  # approximate number of distinct keys
    span: int  # microseconds between first and last event


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChoice:
    """The plan for one group, and why: estimated feature rows per entity row, and joined pairs in total."""

    plan: Plan
    rows_a_key: float
    pairs: float
    reason: str


def choose(statistics: Statistics, shape: Shape) -> PlanChoice:
    """Return the cheaper plan by the estimated number of pairs that ``fan_out`` would join.

    An entity row is joined with the rows of its key within the time to live; if that covers the whole history, with half of it on
    average, because later rows are not visible.

    Example:
        >>> few = Statistics(entity_rows=100, rows=1_000, keys=10, span=1_000)
        >>> choose(few, Shape(keys=1, values=1, ttl=100)).reason
        'each of 100 entity rows joins about 10.0 feature rows, 1000 pairs; fan_out up to 1100'
        >>> choose(few, Shape(keys=1, values=1, ttl=None)).plan
        'frontier'
    """
    share = 0.5 if shape.ttl is None or statistics.span <= shape.ttl else shape.ttl / statistics.span
    rows_a_key = statistics.rows / max(statistics.keys, 1) * share
    pairs, limit = statistics.entity_rows * rows_a_key, FAN_OUT_PAIRS * (statistics.entity_rows + statistics.rows)
    return PlanChoice(
        plan="fan_out" if pairs <= limit else "frontier",
        rows_a_key=rows_a_key,
        pairs=pairs,
        reason=f"each of {statistics.entity_rows} entity rows joins about {rows_a_key:.1f} feature rows, {pairs:.0f} pairs; "
        f"fan_out up to {limit:.0f}",
    )


def statistics_query(shape: Shape) -> str:
    """Return the query for the statistics of ``feature``: rows, approximate number of keys, microseconds between events."""
    return f"""
        select count(*) as rows, approx_count_distinct(({shape.key_list},)) as keys,
            coalesce(epoch_us(max(event_time)) - epoch_us(min(event_time)), 0) as span
        from feature
        """  # noqa: S608


def positions_query(plan: Plan, shape: Shape, semantics: Semantics, *, is_total: bool) -> str:
    """Return the query for ``place``: the position of each entity row's match in the group, or null, in the order of entity rows.

    It reads ``entity`` (key, ``at``, ``until``, ``number``) and ``feature`` (key, ``event_time``, ``created_time``, ``place``; for
    a total order also ``ingest_id`` and values). All names in the query are fixed here; it contains no column names of users.

    Args:
        shape: The parameters.
        semantics: Time from which a value is visible.
        is_total: Whether to order by batch and values too. Without them ``is_tied`` reports rows where they would decide, which are
            rare; sorting by only the two times halves the work.
    """
    # a total order also defines one match among rows to which other writers gave the same ingest id
    tie_break = ["ingest_id", *shape.value_list] if is_total else []
    visible = "greatest(event, created)" if semantics == "known_at" else "event"
    feature = f"""
        select {", ".join([shape.key_list, *tie_break])}, place,
            epoch_us(event_time) as event, epoch_us(created_time) as created, {visible} as available
        from feature
        """  # noqa: S608
    return (_frontier if plan == "frontier" else _fan_out)(shape, feature, ["event", "created", *tie_break])


def _frontier(shape: Shape, feature: str, order: list[str]) -> str:
    # the last row of each time has the newest event of its time, so one sort gives both the order and the last row
    return f"""
        with known as ({feature}),
        running as (
            select {shape.key_list}, event, available, place, max(event) over by_time as newest,
                lead(available) over by_time as following, {_tied("lag")} as is_tied
            from known
            window by_time as (
                partition by {shape.key_list} order by {", ".join(["available", *order])} rows unbounded preceding
            )
        ),
        frontier as (select * from running where event = newest and following is distinct from available)
        select case when {shape.alive("event")} then frontier.place end as place, frontier.is_tied
        from entity asof left join frontier on {shape.same_key("frontier")} and entity.at >= frontier.available
        order by entity.number
        """  # noqa: S608


def _fan_out(shape: Shape, feature: str, order: list[str]) -> str:
    best = ", ".join(f"{name} desc nulls first" for name in order)
    return f"""
        with known as ({feature}),
        met as (
            select entity.number, known.* from entity join known on {shape.same_key("known")}
                and entity.at >= known.available and {shape.alive("known.event")}
        ),
        best as (
            select number, place, {_tied("lead")} as is_tied from met
            window by_time as (partition by number order by {best})
            qualify row_number() over by_time = 1
        )
        select best.place, best.is_tied from entity left join best on entity.number = best.number
        order by entity.number
        """  # noqa: S608


def _tied(neighbour: str) -> str:
    """Return the SQL expression for whether the key's next best row has the same times."""
    return f"{neighbour}(event) over by_time = event and {neighbour}(created) over by_time = created"
