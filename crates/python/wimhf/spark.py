"""On a Spark cluster: functions over Arrow batches for `DataFrame.mapInArrow`.

>>> schema = wimhf.spark.schema(df, run, explain=True)
>>> df.mapInArrow(lambda batches: wimhf.spark.score(batches, run, explain=True), schema)

``run`` is a run directory on a path that all workers see, or what :func:`ship` returns. wimhf has to be installed on the
workers. A row's figures are those of `wimhf score` bit for bit, whatever the partitions and batches: the CPU computes,
with one thread in each worker unless `RAYON_NUM_THREADS` says otherwise. Workers fetch nothing, ask no server and write
nothing.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

from wimhf import _effects, _relabel, _workers
from wimhf._errors import RunError
from wimhf._relabel import Plan
from wimhf._table import Table, _library

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "Plan", "Shipped", "effects", "embed", "embed_schema", "relabel", "relabel_plan", "relabel_schema", "schema", "score",
    "ship",
]


@dataclass(frozen=True)
class Shipped:
    """A run that Spark carries to its workers."""

    key: str
    """The name of its file there."""
    path: str
    """Where it lies on the driver."""

    def archive(self) -> bytes:
        """What scoring needs of the run, as a tar file."""
        if not _workers.on_spark():
            return _workers.packed_run(self.path)
        there = Path(_library("pyspark").SparkFiles.get(self.key))
        try:
            return there.read_bytes()
        except OSError as error:
            raise RunError(
                f"the run `{self.path}` was not shipped to this worker: {error}\n"
                "hint: call `wimhf.spark.ship(spark, run)` in the session that runs the job",
                "run",
            ) from None


def ship(spark: Any, run: str | os.PathLike[str]) -> Shipped:
    """Has Spark carry a run to the workers of this session (`SparkContext.addFile`): what scoring needs of it, some
    hundred kilobytes. A model's folder that the run embeds with has to be on a path that all workers see."""
    content = _workers.packed_run(run)
    name = f"wimhf-{hashlib.sha256(content).hexdigest()[:16]}.tar"
    folder = Path(tempfile.mkdtemp(prefix="wimhf-ship-"))
    # Workers fetch it from the driver as they come: it has to stay as long as the session may.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / name).write_bytes(content)
    spark.sparkContext.addFile(str(folder / name))
    return Shipped(name, os.path.abspath(run))


def score(
    batches: Iterable[pyarrow.RecordBatch],
    run: str | os.PathLike[str] | Shipped,
    *,
    explain: bool = False,
    features: bool = True,
    annotator: str | None = None,
    **columns: Any,
) -> Iterator[pyarrow.RecordBatch]:
    """Scores the batches of a partition: as many rows, in their order, with the columns of `Scorer.transform` added.

    Args:
        batches: What `mapInArrow` passes: any shape that `wimhf score` reads.
        run: A run directory on a path that all workers see, or what :func:`ship` returned.
        explain: Also `wimhf_because`, what decides each pair in words.
        features: Also a column for each feature, 32-bit activations, above 0 where A has more of it.
        annotator: The personal weights of this annotator.
        **columns: `prompt_column`, `response_a_column`, `response_b_column`, `embedding_columns`, where they are not
            recognised. Name them where a table could be read in more than one way: each batch is recognised for itself.
    """
    options = dict(explain=explain, features=features, annotator=annotator, **columns)
    for batch in batches:
        # Not before the first rows: an empty partition opens nothing.
        _settle()
        yield from _workers.scored(_workers.scorer(run, options), batch).to_batches()


def schema(data: Any, run: str | os.PathLike[str] | Shipped, **options: Any) -> Any:
    """The schema (`StructType`) of what :func:`score` gives for a DataFrame or its schema; options as there.

    Opens the run on the driver, where an old run also gets its `score/weights.json`.
    """
    path = run.path if isinstance(run, Shipped) else run
    empty = _empty(data)
    return _spark_schema(_workers.scored(_workers.scorer(path, options), empty))


def embed(
    batches: Iterable[pyarrow.RecordBatch],
    embedder: str = "boxed",
    *,
    names: tuple[str, str] = _workers.VECTORS,
    **options: Any,
) -> Iterator[pyarrow.RecordBatch]:
    """Embeds both responses of each row: as many rows with `wimhf_pair_id` and two columns of vectors,
    lists of 32-bit floats `[rows, dimensions]`, null where a row has no two responses.

    `wimhf.analyze(folder, embedding_columns=names)` reads what is written from it.

    Args:
        batches: What `mapInArrow` passes.
        embedder: `boxed`, a model's folder or `static:FOLDER`, on a path that all workers see.
        names: Names of the columns, the first response's first.
        **options: `what` (`"response"`, `"prompt-response"`, `"instructed"`), `template`, `max_tokens`,
            `precision` (`"f32"`, or `"int8"`: about three times as fast with AVX-512), `prompt_column`, `response_a_column`, `response_b_column`.
    """
    for batch in batches:
        _settle()
        yield from _lists(_embedded(batch, embedder, names, options), names).to_batches()


def embed_schema(
    data: Any, embedder: str = "boxed", *, names: tuple[str, str] = _workers.VECTORS, **options: Any
) -> Any:
    """The schema (`StructType`) of what :func:`embed` gives for a DataFrame or its schema; options as there."""
    return _spark_schema(_lists(_embedded(_empty(data), embedder, names, options), names))


def relabel_plan(
    scored: Any,
    run: str | os.PathLike[str] | Shipped,
    rules: str | Sequence[str] = (),
    *,
    top: int | None = None,
    **options: Any,
) -> Plan:
    """The first pass of relabelling: two small jobs over a scored DataFrame (keep it, as Parquet or with `persist`).

    The marks are those of `wimhf relabel` on data of unique labels; where several rows repeat a label, each row is
    judged by itself.

    Args:
        scored: What :func:`score` gave, with features and labels.
        run: The run whose rules they are.
        rules: `"FEATURE:prefer"` or `"FEATURE:avoid"`, or several.
        top: At most this many labels, the highest scores first; equal scores in the order of pair id and annotator.
        **options: `rules_file` (without conditions on prompts), `action` (`"flip"`, `"drop"`, `"tie"`, `"weight"`),
            `min_score`, `weight`, and the columns `label` (numbers, 1 prefers A and 0 B) and `annotator`.
    """
    begun = _relabel.plan(run.path if isinstance(run, Shipped) else run, rules, **options)
    _relabel.check(begun, scored.columns)
    few = scored.select(*(f"`{name}`" for name in begun.columns))

    def first(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            yield from _relabel.counted(begun, batch).to_batches()

    rows = few.mapInArrow(first, _spark_schema(_relabel.counted_schema().empty_table())).collect()
    counted = _relabel.with_counts(begun, (row.asDict() for row in rows))

    def second(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        yield from _relabel.parts(counted, batches, top).to_batches()

    rows = few.mapInArrow(second, _spark_schema(_relabel.topped_schema().empty_table())).collect()
    return _relabel.with_top(counted, (row.asDict() for row in rows), top)


def relabel(batches: Iterable[pyarrow.RecordBatch], plan: Plan) -> Iterator[pyarrow.RecordBatch]:
    """The second pass: rows with their labels after the rules, dropped ones left out, with `wimhf_original_label`,
    `wimhf_action`, `wimhf_rule`, `wimhf_score` (and `wimhf_weight`) as `wimhf relabel` writes them."""
    for batch in batches:
        yield from _relabel.changed(plan, batch).to_batches()


def relabel_schema(data: Any, plan: Plan) -> Any:
    """The schema (`StructType`) of what :func:`relabel` gives for a DataFrame or its schema."""
    return _spark_schema(_relabel.changed(plan, _empty(data)))


def effects(
    scored: Any,
    run: str | os.PathLike[str] | Shipped,
    *,
    features: Sequence[str] | None = None,
    annotator: str | None = None,
    **columns: Any,
) -> Table:
    """What each feature has to do with the labels of a scored DataFrame (keep it, as Parquet or with `persist`): some ten
    small jobs, of sums over rows and over clusters.

    A row for each feature, as in `Run.effects`: `beta` (log-odds per standard deviation of the activation, both lengths
    held fixed), its standard error and p-value by maximum likelihood (`beta_se`, `beta_p`) and clustered by prompt and
    annotator (`beta_se_cluster`, `beta_p_cluster`, with `df` degrees of freedom), `n` labels, `active` (labels with an
    activation other than 0). The p-values are of one feature each; correct them for their number. To 1e-10 what the
    command finds on the same labels, whatever the partitions; where rows repeat a label, each counts (the command takes
    their mean), so drop repeats first. An effect is an association with the labels, not their cause.

    Args:
        scored: What :func:`score` gave, with features, labels and both responses.
        run: The run whose features they are. Those that are named by phrases or found by labels are not measured.
        features: Some of them. Each cluster carries 64 bytes for each through the shuffle.
        annotator: The column of annotators; people who differ in taste then widen the errors.
        **columns: `label` (numbers, 1 prefers A and 0 B), `prompt` (`None`: there is none), `response_a`, `response_b`.
    """
    path = run.path if isinstance(run, Shipped) else run
    begun, words = _effects.plan(path, scored.columns, features=features, annotator=annotator, **columns)
    few = scored.select(*(f"`{name}`" for name in begun.columns))
    # Every pass reads it: numbers alone, which Spark keeps.
    numbers = _mapped(few, _effects.prepared, begun, _effects.prepared_schema()).persist()
    try:
        return _effects.effects(_Jobs(numbers), begun, words)
    finally:
        numbers.unpersist()


def _mapped(data: Any, step: Any, fits: _effects.Fits, schema: Any) -> Any:
    def each(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            yield from step(batch, fits).to_batches()

    return data.mapInArrow(each, _spark_schema(schema.empty_table()))


class _Jobs(_effects.Engine):
    def __init__(self, numbers: Any) -> None:
        self._numbers = numbers

    def rows(self, step: Any, fits: _effects.Fits) -> list[Any]:
        return [row.asDict() for row in _mapped(self._numbers, step, fits, _effects.sums_schema()).collect()]

    def shards(self, fits: _effects.Fits) -> list[Any]:
        def whole(shard: pyarrow.Table) -> pyarrow.Table:
            return _effects.combined(shard, fits)

        parts = _mapped(self._numbers, _effects.clusters, fits, _effects.clusters_schema())
        merged = parts.groupBy("shard").applyInArrow(whole, _spark_schema(_effects.combined_schema().empty_table()))
        return [row.asDict() for row in merged.collect()]


def _embedded(batch: Any, embedder: str, names: tuple[str, str], options: dict[str, Any]) -> pyarrow.Table:
    return _workers.embedded(_workers.embedder({"embedder": embedder, **options}), batch, names)


def _lists(table: pyarrow.Table, names: tuple[str, str]) -> pyarrow.Table:
    """Vectors as plain lists: Spark knows no lists of a fixed size."""
    arrow = _library("pyarrow")
    for name in names:
        lists = table.column(name).cast(arrow.list_(arrow.float32()))
        table = table.set_column(table.schema.get_field_index(name), name, lists)
    return table


def _settle() -> None:
    if _workers.on_spark():
        _workers.one_thread()


def _empty(data: Any) -> pyarrow.Table:
    types = _library("pyspark.sql.pandas.types")
    return types.to_arrow_schema(getattr(data, "schema", data)).empty_table()


def _spark_schema(table: pyarrow.Table) -> Any:
    return _library("pyspark.sql.pandas.types").from_arrow_schema(table.schema)
