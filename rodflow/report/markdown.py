"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table under the keys of its ``rows``: at least one, all with the same keys in the same order.

    Values are written as ``str`` has them; no newline at the end.
    """
    heads = rows[0].keys()
    return "\n".join([_line(heads), "|---" * len(heads) + "|", *(_line(row.values()) for row in rows)])


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
