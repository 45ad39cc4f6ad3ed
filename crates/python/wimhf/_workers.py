"""What workers of a cluster share: a run or an embedder opened once in each process, after the fork.

Nothing is fetched, no server is asked, and nothing stays on a worker's disk.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

from wimhf import _wimhf
from wimhf._errors import InputError, RunError
from wimhf._run import Scorer, packed
from wimhf._table import Table, _library, frame

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")

#: What of a run scoring reads; the rest, most of its bytes, stays where it is.
NEEDED = (
    "run.json", "principles.json", "sae.json", "sae.safetensors", "sentences.safetensors", "score/weights.json",
    "annotator_weights.parquet", "stages/described.json", "stages/themes.json", "stages/effects.json",
)
#: Names of the columns of vectors, the first response's first; those of the command's `--save-embeddings`.
VECTORS = ("embedding_a", "embedding_b")
#: Columns that scoring adds: the one of pairs, the one of single responses.
_ADDED = ("wimhf_p_a", "wimhf_reward")
_PAIR_ID = "wimhf_pair_id"


class Shipped(Protocol):
    """A run that travels with the job."""

    @property
    def key(self) -> str: ...

    def archive(self) -> bytes: ...


def once(key: str, make: Callable[[], T]) -> T:
    """What ``make`` made in this process under this key; a forked process makes its own."""
    here = (os.getpid(), key)
    if here not in _opened:
        _opened[here] = make()
    made: T = _opened[here]
    return made


_opened: dict[tuple[int, str], Any] = {}


def one_thread() -> None:
    """A worker has a core, not the machine: the cluster runs one for each. Before anything computes; a number that
    the user set stands."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")


def packed_run(run: str | os.PathLike[str]) -> bytes:
    """What scoring needs of a run, as a tar file."""
    path = Path(run)
    _check(path)
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        for name in NEEDED:
            if (path / name).exists():
                archive.add(path / name, name)
    return found.getvalue()


def scorer(run: str | os.PathLike[str] | Shipped, options: dict[str, Any]) -> Scorer:
    """The run ready to score, opened once in this process."""
    # Where the CPU and a graphics adapter differ in the last digits, so would two workers.
    options = {"device": "cpu", **options}
    if isinstance(run, (str, os.PathLike)):
        path = Path(os.path.abspath(run))
        return once(f"{path} {packed(**options)}", lambda: _opened_scorer(path, options))
    shipped = run
    return once(f"{shipped.key} {packed(**options)}", lambda: _unpacked_scorer(shipped, options))


def _unpacked_scorer(run: Shipped, options: dict[str, Any]) -> Scorer:
    # Everything is read when it is opened, so that nothing has to stay.
    folder = Path(tempfile.mkdtemp(prefix="wimhf-"))
    try:
        with tarfile.open(fileobj=io.BytesIO(run.archive())) as archive:
            for name in archive.getnames():
                content = archive.extractfile(name) if name in NEEDED else None
                if content is not None:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(content.read())
        return _opened_scorer(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _opened_scorer(path: Path, options: dict[str, Any]) -> Scorer:
    _check(path)
    return Scorer(path, worker=True, **options)


def _check(path: Path) -> None:
    """Says plainly what a worker lacks."""
    if not (path / "run.json").exists():
        raise RunError(
            f"the run `{path}` is not on this machine ({socket.gethostname()}), or is no run\n"
            "hint: keep it on a path that all workers see, or ship it: `wimhf.spark.ship(spark, run)`, `wimhf.ray.ship(run)`",
            "run",
        )
    try:
        config = json.loads((path / "run.json").read_text("utf-8"))["config"]
        embedder, brought = str(config["embed"]["embedder"]), config["data"].get("embedding_columns")
    except (OSError, ValueError, KeyError, TypeError):
        return  # What is wrong with it, opening it says.
    if embedder.startswith("openai:") and not brought:
        raise InputError(
            f"the run `{path}` embeds with the server of `{embedder}`, and workers ask no server\n"
            "hint: score it on one machine, or analyze the data with an embedder in a folder",
            "run",
        )
    if not (path / "score" / "weights.json").exists():
        raise RunError(
            f"the run `{path}` has no `score/weights.json`, and workers write nothing\n"
            f"hint: `wimhf.open({os.fspath(path)!r}).scorer()` makes it, once, where the folder can be written to",
            "run",
        )


def embedder(options: dict[str, Any]) -> _wimhf.NativeEmbedder:
    """The embedder, opened once in this process."""
    given = packed(**options)
    return once(f"embedder {given}", lambda: _wimhf.NativeEmbedder.open(given))


def scored(with_: Scorer, batch: Any) -> pyarrow.Table:
    """The rows of a batch with what was found about them. Columns that pass through keep their types."""
    readable = _readable(batch)
    out = with_.transform(readable).to_arrow()
    names = out.column_names
    at = next(names.index(name) for name in _ADDED if name in names)
    # Before it stands the pair's id, where rows hold texts.
    at -= at > 0 and names[at - 1] == _PAIR_ID
    # Vectors do not pass through; what we cannot read does.
    gone = (set(readable.schema.names) - set(names[:at])) | set(names[at:])
    return _beside(batch, gone, out.select(names[at:]))


def embedded(with_: _wimhf.NativeEmbedder, batch: Any, names: tuple[str, str]) -> pyarrow.Table:
    """The rows of a batch with `wimhf_pair_id` and a vector for each response, fixed-size lists of 32-bit floats
    `[rows, dimensions]`; null where a row holds no two responses."""
    out = Table(with_.transform(frame(_readable(batch)), *names)).to_arrow()
    added = [_PAIR_ID, *names]
    return _beside(batch, set(added), out.select(added))


def _readable(batch: Any) -> Any:
    """Without columns of types that polars does not know, which hold no texts."""
    types = _library("pyarrow").types
    odd = {
        field.name for field in batch.schema
        if types.is_map(field.type) or types.is_union(field.type) or types.is_interval(field.type)
    }
    return batch.select([name for name in batch.schema.names if name not in odd]) if odd else batch


def _beside(batch: Any, gone: set[str], added: pyarrow.Table) -> pyarrow.Table:
    arrow = _library("pyarrow")
    through = [name for name in batch.schema.names if name not in gone]
    fields = [*(batch.schema.field(name) for name in through), *added.schema]
    columns = [*(batch.column(name) for name in through), *added.columns]
    return arrow.table(columns, schema=arrow.schema(fields)).combine_chunks()


def on_spark() -> bool:
    """Whether this is a task of Spark, and not its driver."""
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.TaskContext.get() is not None
