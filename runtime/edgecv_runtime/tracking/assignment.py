"""Who belongs to whom at the least cost in all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FORBIDDEN = 1e6  # above any sum of costs in [0, 1]


def assign(cost: npt.NDArray[np.float64], most: float) -> list[tuple[int, int]]:
    """Pairs of rows and columns, each used once, as many as have a cost of at most `most`, of the least cost in all.

    The Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker & Volgenant 1987): O(rows² × columns).

    Parameters
    ----------
    cost : (R, C) float64
        From 0 to 1; what is above `most` is never paired.
    most : float

    Returns
    -------
    list of (row, column)
        In order of the rows.
    """
    rows, columns = cost.shape
    if not rows or not columns:
        return []
    allowed = cost <= most
    work = np.where(allowed, cost, _FORBIDDEN)
    if rows > columns:
        return sorted((row, column) for column, row in _shortest_paths(work.T) if allowed[row, column])
    return [(row, column) for row, column in _shortest_paths(work) if allowed[row, column]]


def _shortest_paths(cost: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """For no more rows than columns: every row gets a column."""
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, bool)
        row, column, travelled = start, -1, 0.0
        while row >= 0:  # until a free column is reached
            reduced = travelled + cost[row] - row_price[row] - column_price
            closer = ~done & (reduced < distance)
            distance[closer], previous[closer] = reduced[closer], column
            column = int(np.where(done, np.inf, distance).argmin())
            travelled = float(distance[column])
            done[column] = True
            row = int(row_of[column])
        visited = np.flatnonzero(done)
        for place in visited.tolist():
            if row_of[place] >= 0:
                row_price[row_of[place]] += travelled - distance[place]
        column_price[visited] -= travelled - distance[visited]
        row_price[start] += travelled
        while column >= 0:  # hand the columns on, back along the path
            before = int(previous[column])
            row_of[column] = start if before < 0 else row_of[before]
            column = before
    taken = np.flatnonzero(row_of >= 0).tolist()
    return sorted((int(row_of[column]), column) for column in taken)
