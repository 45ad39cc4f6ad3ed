"""Tables in and out, through the Arrow PyCapsule interface."""

from __future__ import annotations

import html
import json
import os
from typing import TYPE_CHECKING, Any, Iterable

from wimhf import _wimhf
from wimhf._errors import InputError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Table:
    """A table in memory. pandas, polars, pyarrow and DuckDB read it as it is (``polars.DataFrame(table)``)."""

    def __init__(self, frame: _wimhf.Frame) -> None:
        self._frame = frame

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return self._frame.columns()

    def __len__(self) -> int:
        return len(self._frame)

    def head(self, rows: int = 5) -> Table:
        """The first rows."""
        return Table(self._frame.head(max(rows, 0)))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain Python, a dict each; meant for small tables."""
        return list(json.loads(self._frame.rows(len(self))))

    def to_arrow(self) -> pyarrow.Table:
        """As a pyarrow table, without copying."""
        return _library("pyarrow").table(self)

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas frame."""
        _library("pandas")
        made: pandas.DataFrame = self.to_arrow().to_pandas()
        return made

    def to_polars(self) -> polars.DataFrame:
        """As a polars frame."""
        made: polars.DataFrame = _library("polars").DataFrame(self)
        return made

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        names = ", ".join(self.columns[:8]) + (", …" if len(self.columns) > 8 else "")
        return f"Table({len(self):,} rows × {len(self.columns)} columns: {names})"

    def _repr_html_(self) -> str:
        return html_table(self.head(10).to_dicts(), self.columns[:12], f"{len(self):,} rows × {len(self.columns)} columns")


def html_table(rows: list[dict[str, Any]], columns: list[str], caption: str) -> str:
    """Rows as an HTML table, long texts cut."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        return html.escape(text if len(text) <= 80 else text[:79] + "…")

    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell(row.get(name))}</td>" for name in columns) + "</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"this needs {name}, which is not installed\nhint: pip install {name}") from None


def _kind(data: object) -> str:
    """`pandas.DataFrame`, `datasets.Dataset`, …, without importing any of them."""
    found = type(data)
    return f"{found.__module__.split('.')[0]}.{found.__name__}"


def frame(data: Any) -> _wimhf.Frame:
    """Any table as one of ours."""
    if isinstance(data, Table):
        return data._frame
    kind = _kind(data)
    if kind == "pandas.DataFrame":
        arrow = _library("pyarrow")
        try:
            # The index is no column; and pandas before 2.2 has no stream of its own.
            data = arrow.Table.from_pandas(data, preserve_index=False)
        except (arrow.ArrowException, TypeError, ValueError) as error:
            raise InputError(
                f"the pandas frame cannot be read: {error}\nhint: each column needs values of one type"
            ) from None
    elif kind == "datasets.Dataset":
        # With its format, so that a selection or another order of rows holds.
        data = data.with_format("arrow")[:]
    elif kind in ("datasets.DatasetDict", "datasets.IterableDatasetDict"):
        raise InputError(f"a {kind} has several splits: {', '.join(map(str, data))}\nhint: pass one of them, as in `data[\"train\"]`")
    elif kind == "datasets.IterableDataset":
        raise InputError("an IterableDataset has no table\nhint: `datasets.Dataset.from_list(list(data))` makes one")
    elif kind == "polars.LazyFrame":
        data = data.collect()
    stream = getattr(data, "__arrow_c_stream__", None)
    if stream is None or isinstance(data, type):
        raise InputError(
            f"data cannot be of type {type(data).__module__}.{type(data).__qualname__}\n"
            "hint: a path, `hf://datasets/OWNER/NAME`, a list of them, or a table of pandas, polars, pyarrow, DuckDB or datasets"
        )
    return _wimhf.Frame.read(stream())


def sources(data: Any) -> list[str | _wimhf.Frame]:
    """What was passed as data: names and tables."""
    parts: Iterable[Any] = data if isinstance(data, (list, tuple)) else [data]
    found: list[str | _wimhf.Frame] = [
        os.fspath(part) if isinstance(part, (str, os.PathLike)) else frame(part) for part in parts
    ]
    if not found:
        raise InputError("no data\nhint: a path, or a table")
    return found


def with_vectors(data: list[str | _wimhf.Frame], embeddings: Any) -> list[str | _wimhf.Frame]:
    """One table with a vector for each response of each row beside it."""
    numpy = _library("numpy")
    if not isinstance(embeddings, (list, tuple)) or len(embeddings) != 2:
        raise InputError("`embeddings` needs two arrays, one for each response\nhint: embeddings=(a, b)", "embeddings")
    if len(data) != 1 or isinstance(data[0], str):
        raise InputError(
            "`embeddings` goes with one table in memory\nhint: pass the table itself, or name `embedding_columns` of the file",
            "embeddings",
        )
    table = data[0]
    for name, given in zip(VECTOR_COLUMNS, embeddings):
        try:
            values = numpy.ascontiguousarray(given, dtype=numpy.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"`embeddings` is no array of numbers: {error}", "embeddings") from None
        if values.ndim != 2 or values.shape[1] == 0:
            raise InputError(f"`embeddings` has the shape {values.shape}, but needs [rows, dimensions]", "embeddings")
        table = table.with_vectors(name, values.tobytes(), values.shape[1])
    return [table]


VECTOR_COLUMNS = ("wimhf_embedding_a", "wimhf_embedding_b")
