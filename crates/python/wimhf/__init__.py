"""What is in my human feedback: which principles do the annotators of a preference dataset really follow?

>>> import wimhf
>>> run = wimhf.analyze("dataset.parquet")     # or a frame of pandas, polars, pyarrow, DuckDB, datasets
>>> run.principles.to_pandas()
>>> run.score(new_pairs, explain=True)

Every figure is an association in the labels at hand, on pairs that were not used to choose it; nothing here is a causal
claim. Everything is seen from response A.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Literal, Mapping

from wimhf import _wimhf
from wimhf._errors import BudgetError, Cancelled, InputError, ModelError, RunError, WimhfError
from wimhf._progress import Event, Watcher
from wimhf._run import Audit, Constitution, Contexts, Judgement, Models, Personalized, Reasons, Relabelled, Run, Scorer, packed
from wimhf._table import VECTOR_COLUMNS, Table, sources, with_vectors

if TYPE_CHECKING:
    from wimhf import ray, spark

__version__: str = _wimhf.__version__
__all__ = [
    "Audit",
    "BudgetError",
    "Cancelled",
    "Comparison",
    "Constitution",
    "Contexts",
    "InputError",
    "Inspection",
    "Judgement",
    "ModelError",
    "Models",
    "Personalized",
    "Reasons",
    "Relabelled",
    "Run",
    "RunError",
    "Scorer",
    "Table",
    "WimhfError",
    "analyze",
    "compare",
    "inspect",
    "open",
    "ray",
    "spark",
    "undo_relabel",
]


def __getattr__(name: str) -> Any:
    # What a cluster needs is imported where it is named: `import wimhf` stays as light as it was.
    if name in ("ray", "spark"):
        return importlib.import_module(f"wimhf.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


#: Names in `columns`, and the settings that they are.
_COLUMNS = {
    "prompt": "prompt_column",
    "response_a": "response_a_column",
    "response_b": "response_b_column",
    "label": "label_column",
    "annotator": "annotator_column",
    "embeddings": "embedding_columns",
}


@dataclass(frozen=True)
class Inspection:
    """What a dataset holds."""

    read: Mapping[str, Any]
    """How it was read: shape, columns and their roles, what was left out and why."""
    found: Mapping[str, Any]
    """Pairs, labels, agreement, lengths, prompts, annotators, languages."""
    embedding: list[Mapping[str, Any]]
    """What each way of embedding would take."""


@dataclass(frozen=True)
class Comparison:
    """The same concepts in several runs, or in the groups of one."""

    found: Mapping[str, Any]
    """`comparison.json`: `parts`, `concepts` with a cell for each part, `learned`, `notes`."""
    page: Path
    """The page."""
    json: Path
    """The record."""


def _settings(
    config: Any, columns: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The settings file, and everything over it."""
    file: str | None = None
    given: dict[str, Any] = {}
    if isinstance(config, (str, os.PathLike)):
        file = os.fspath(config)
    elif isinstance(config, Mapping):
        given.update(config)
    elif config is not None:
        raise InputError(f"`config` cannot be of type {type(config).__name__}\nhint: a dict, or a settings file", "config")
    for name, column in (columns or {}).items():
        if name not in _COLUMNS:
            raise InputError(f"`columns` has no `{name}`\nhint: {', '.join(_COLUMNS)}", "columns")
        given[_COLUMNS[name]] = column
    return file, {**given, **settings}


def analyze(
    data: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
    embeddings: tuple[Any, Any] | None = None,
    device: Literal["auto", "gpu", "cpu"] = "auto",
    progress: Any = True,
    force: bool = False,
    max_cost: float | None = None,
    max_calls: int | None = None,
    save_embeddings: str | os.PathLike[str] | None = None,
    cancel: Event | None = None,
    **settings: Any,
) -> Run:
    """Finds, measures and ranks the principles in preference data; returns the run.

    Args:
        data: A file, a folder, a glob, `hf://datasets/OWNER/NAME`, a table (pandas, polars, pyarrow, DuckDB, `datasets`,
            anything with `__arrow_c_stream__`), or a list of them.
        out: The run directory; `runs/NAME` where none is named. The same call goes on where it was stopped.
        config: A dict of settings, or a settings file (TOML).
        columns: Columns by role where they are not recognised: `{"prompt": …, "response_a": …, "response_b": …,
            "label": …, "annotator": …}`.
        embeddings: Vectors of the two responses, two arrays `[rows, dimensions]`, instead of embedding the texts.
        device: Where the autoencoder runs; `auto` takes a GPU if there is one.
        progress: `True` for a bar, `False`, a function of (stage, done, total), or something like tqdm. Notes go to
            the logger `wimhf`.
        force: Redo every stage; replace the run of another dataset.
        max_cost: Dollars that language models may cost; `max_calls`: requests that they may be sent.
        save_embeddings: Also write both responses' embeddings to this Parquet file.
        cancel: Something like `threading.Event`: once it is set, the call ends with :class:`Cancelled`.
        **settings: Settings by name: `seed=1`, `label_column="winner"`, `features=32`, `sae={"active": 8}`.

    Raises:
        InputError: Data or settings cannot be used. KeyboardInterrupt: Ctrl-C; finished stages are kept.
    """
    parts = sources(data)
    file, given = _settings(config, columns, settings)
    if embeddings is not None:
        parts = with_vectors(parts, embeddings)
        given["embedding_columns"] = list(VECTOR_COLUMNS)
    options = packed(
        out=out, config_file=file, settings=given, device=device, force=force, max_cost=max_cost,
        max_calls=max_calls, save_embeddings=save_embeddings,
    )
    watcher = Watcher(progress, cancel)
    try:
        return Run(_wimhf.analyze(watcher, parts, options))
    finally:
        watcher.close()


def open(path: str | os.PathLike[str]) -> Run:
    """Opens a finished run for reading; takes no lock and writes nothing."""
    return Run(path)


def inspect(
    data: Any,
    *,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
    progress: Any = False,
    cancel: Event | None = None,
    **settings: Any,
) -> Inspection:
    """What a dataset holds, before anything is run on it; arguments as for :func:`analyze`."""
    parts = sources(data)
    file, given = _settings(config, columns, settings)
    watcher = Watcher(progress, cancel)
    try:
        found = json.loads(_wimhf.inspect(watcher, parts, packed(config_file=file, settings=given)))
    finally:
        watcher.close()
    return Inspection(**found)


def compare(
    *runs: Run | str | os.PathLike[str],
    by: str | None = None,
    out: str | os.PathLike[str] | None = None,
    anonymise: bool = False,
    progress: Any = False,
    cancel: Event | None = None,
) -> Comparison:
    """The same concepts in several runs, or with ``by`` in the groups of one run's dataset; differences tested."""
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    watcher = Watcher(progress, cancel)
    try:
        page, record = _wimhf.compare(
            watcher, [run._native for run in opened], packed(by=by, out=out, anonymise=anonymise)
        )
    finally:
        watcher.close()
    return Comparison(found=json.loads(Path(record).read_text("utf-8")), page=Path(page), json=Path(record))


def undo_relabel(
    file: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, force: bool = False
) -> list[Path]:
    """Restores the original of a relabelled file or folder; the files that were written."""
    to = None if out is None else os.fspath(out)
    return [Path(path) for path in _wimhf.undo_relabel(os.fspath(file), to, force)]
