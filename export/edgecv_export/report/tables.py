"""Tables of the page; the script sorts those with sortable columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv_export.report.svg import element, text


@dataclass(frozen=True)
class Column:
    """A column: its heading, figures or words, and whether it can be sorted by."""

    heading: str
    numeric: bool = False
    sortable: bool = False
    wide: bool = False

    @property
    def style(self) -> str | None:
        return "n" if self.numeric else "wrap" if self.wide else None


def table(columns: Sequence[Column], rows: Sequence[Sequence[tuple[object, str]]], styles: Sequence[str] = ()) -> str:
    """An HTML table.

    Parameters
    ----------
    columns : sequence of Column
    rows : sequence of sequence of (value, shown)
        ``value`` is what the column is sorted by, "" where it is missing.
    styles : sequence of str
        Class of each row, if any.
    """
    headings = []
    for column in columns:
        label = text(column.heading)
        content = element("button", label, type="button") if column.sortable else label
        headings.append(element("th", content, class_="n" if column.numeric else None, scope="col"))
    lines = []
    for index, row in enumerate(rows):
        cells = (
            element("td", text(shown), class_=column.style, data_value=_sortable(value))
            for column, (value, shown) in zip(columns, row, strict=True)
        )
        lines.append(element("tr", *cells, class_=(styles[index] or None) if styles else None))
    sortable = True if any(column.sortable for column in columns) else None
    head, body = element("thead", element("tr", *headings)), element("tbody", *lines)
    return element("table", head, body, data_sortable=sortable)


def _sortable(value: object) -> str:
    return repr(float(value)) if isinstance(value, int | float) else str(value)
