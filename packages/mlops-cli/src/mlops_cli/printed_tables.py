"""Tables that the command prints: nothing is cut, in a narrow terminal neither."""

from collections.abc import Sequence

LONGEST_WORD = 32  # characters of a cell that is not wrapped where words are kept whole


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, whole_words: bool = False) -> None:
    """Print rows as a table; what does not fit is folded.

    Args:
        heads: Names of the columns.
        rows: Their cells, as strings.
        whole_words: Wrap only the last column if the others are short. Default: wrap any column that needs it.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for index, head in enumerate(heads):
        last, longest = index == len(heads) - 1, max((len(row[index]) for row in rows), default=0)
        table.add_column(head, overflow="fold", no_wrap=whole_words and not last and longest <= LONGEST_WORD)
    for row in rows:
        table.add_row(*map(Text, row))  # user input is not markup
    Console().print(table)
