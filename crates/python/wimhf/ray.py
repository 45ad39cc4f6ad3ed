"""On a Ray cluster: callable classes for `ray.data.Dataset.map_batches`, one actor each, opened once.

>>> ds.map_batches(wimhf.ray.Scorer, fn_constructor_args=(run,), batch_format="pyarrow", concurrency=4)

``run`` is a run directory on a path that all workers see, or what :func:`ship` returns. wimhf has to be installed on the
workers. A row's figures are those of `wimhf score` bit for bit, whatever the blocks and batches. Ray keeps no order of
rows: `wimhf_pair_id` tells them apart. Workers fetch nothing, ask no server and leave nothing on their disks.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from wimhf import _effects, _relabel, _workers
from wimhf._relabel import Plan
from wimhf._table import Table, _library

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Embedder", "Plan", "Scorer", "Shipped", "effects", "relabel", "relabel_plan", "ship"]


@dataclass(frozen=True)
class Shipped:
    """A run in Ray's object store."""

    key: str
    """A name made of its content."""
    reference: Any
    """The object."""

    def archive(self) -> bytes:
        """What scoring needs of the run, as a tar file."""
        content: bytes = _library("ray").get(self.reference)
        return content


def ship(run: str | os.PathLike[str]) -> Shipped:
    """Puts a run into Ray's object store: what scoring needs of it, some hundred kilobytes. A model's folder that the
    run embeds with has to be on a path that all workers see."""
    content = _workers.packed_run(run)
    return Shipped(f"wimhf-{hashlib.sha256(content).hexdigest()[:16]}", _library("ray").put(content))


class Scorer:
    """Scores batches: as many rows, in their order, with the columns of `wimhf.Scorer.transform` added.

    Args:
        run: A run directory on a path that all workers see, or what :func:`ship` returned.
        explain: Also `wimhf_because`, what decides each pair in words.
        features: Also a column for each feature, 32-bit activations, above 0 where A has more of it.
        annotator: The personal weights of this annotator.
        **columns: `prompt_column`, `response_a_column`, `response_b_column`, `embedding_columns`, where they are not
            recognised. Name them where a table could be read in more than one way: each batch is recognised for itself.
    """

    def __init__(self, run: str | os.PathLike[str] | Shipped, *, explain: bool = False, features: bool = True,
                 annotator: str | None = None, **columns: Any) -> None:
        _settle()
        options = dict(explain=explain, features=features, annotator=annotator, **columns)
        self._scorer = _workers.scorer(run, options)

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """The rows of a batch with what was found about them."""
        return _workers.scored(self._scorer, batch)


class Embedder:
    """Embeds both responses of each row: as many rows with `wimhf_pair_id` and two columns of vectors, fixed-size
    lists of 32-bit floats `[rows, dimensions]`, null where a row has no two responses.

    `wimhf.analyze(folder, embedding_columns=names)` reads what is written from it.

    Args:
        embedder: `boxed`, a model's folder or `static:FOLDER`, on a path that all workers see.
        names: Names of the columns, the first response's first.
        **options: `what` (`"response"`, `"prompt-response"`, `"instructed"`), `template`, `max_tokens`,
            `precision` (`"f32"`, or `"int8"`: about three times as fast with AVX-512), `prompt_column`, `response_a_column`, `response_b_column`.
    """

    def __init__(self, embedder: str = "boxed", *, names: tuple[str, str] = _workers.VECTORS, **options: Any) -> None:
        _settle()
        self._names = names
        self._embedder = _workers.embedder({"embedder": embedder, **options})

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """The rows of a batch with their vectors."""
        return _workers.embedded(self._embedder, batch, self._names)


def relabel_plan(
    scored: Any,
    run: str | os.PathLike[str],
    rules: str | Sequence[str] = (),
    *,
    top: int | None = None,
    **options: Any,
) -> Plan:
    """The first pass of relabelling: twice over a scored dataset (keep it, as Parquet or with `materialize`).

    Arguments as for :func:`wimhf.spark.relabel_plan`.
    """
    begun = _relabel.plan(run, rules, **options)
    _relabel.check(begun, scored.schema().names)
    few = scored.select_columns(begun.columns)
    counted = _relabel.with_counts(begun, few.map_batches(
        _relabel.counted_batch, fn_kwargs={"of": begun}, batch_format="pyarrow").take_all())
    rows = few.map_batches(_relabel.topped_batch, fn_kwargs={"of": counted, "top": top}, batch_format="pyarrow").take_all()
    return _relabel.with_top(counted, rows, top)


def relabel(batch: pyarrow.Table, plan: Plan) -> pyarrow.Table:
    """The second pass, for `map_batches(wimhf.ray.relabel, fn_kwargs={"plan": plan}, batch_format="pyarrow")`: rows with
    their labels after the rules, dropped ones left out, with `wimhf_original_label`, `wimhf_action`, `wimhf_rule`,
    `wimhf_score` (and `wimhf_weight`) as `wimhf relabel` writes them."""
    return _relabel.changed(plan, batch)


def effects(
    scored: Any,
    run: str | os.PathLike[str],
    *,
    features: Sequence[str] | None = None,
    annotator: str | None = None,
    **columns: Any,
) -> Table:
    """What each feature has to do with the labels of a scored dataset (keep it, as Parquet or with `materialize`).

    Arguments and result as for :func:`wimhf.spark.effects`.
    """
    begun, words = _effects.plan(run, scored.schema().names, features=features, annotator=annotator, **columns)
    # Every pass reads it: numbers alone, which Ray keeps.
    numbers = _mapped(scored.select_columns(begun.columns), _effects.prepared, begun).materialize()
    return _effects.effects(_Jobs(numbers), begun, words)


def _mapped(data: Any, step: Any, fits: _effects.Fits) -> Any:
    return data.map_batches(step, fn_kwargs={"of": fits}, batch_format="pyarrow", batch_size=None)


class _Jobs(_effects.Engine):
    def __init__(self, numbers: Any) -> None:
        self._numbers = numbers

    def rows(self, step: Any, fits: _effects.Fits) -> list[Any]:
        # Few rows come back, one for each block.
        return list(_mapped(self._numbers, step, fits).take_all())

    def shards(self, fits: _effects.Fits) -> list[Any]:
        return list(_mapped(self._numbers, _effects.clusters, fits).groupby("shard").map_groups(
            _effects.combined, fn_kwargs={"of": fits}, batch_format="pyarrow").take_all())


def _settle() -> None:
    """One thread in an actor; what a driver does by itself keeps its own."""
    ray = _library("ray")
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        _workers.one_thread()
