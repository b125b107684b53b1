"""The row of the models that targets serve."""

from typing import Any

from tests.reported import GROUP, ONE, state

from mlops_runtime.promotion.downstream_table import Downstream, DownstreamTable
from mlops_runtime.promotion.environment_link import downstream_chain
from mlops_runtime.promotion.served_reports import champion_pointer
from mlops_runtime.rollout.rollout_table import RolloutTable


def test_states_and_champion_move_together(place: Any) -> None:
    """A writer with an older row writes nothing; the champion is read like any live pointer."""
    table = DownstreamTable(place.dynamodb, "promotions", GROUP)
    row = RolloutTable(place.dynamodb, "promotions", downstream_chain(GROUP))
    assert table.read() == Downstream()
    assert table.move(None, [state()], champion_pointer(state(), ONE.record))
    assert not table.move(None, [], None)
    seen = table.read()
    assert seen.states == (state(),)
    assert '"demand-forecast.downstream"' in str(row.read().live)

    assert table.move(seen.seen, [state(sequence=9)], None)
    assert not table.move(seen.seen, [], None)
    assert (table.read().states[0].sequence, row.read().live) == (9, None)
