"""What both clusters are held against: the command, on one machine, on the same pairs."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[2]
#: Partitions, and rows of a batch.
WAYS = [(partitions, rows) for partitions in (1, 2, 7) for rows in (7, 512)]
LISTS = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
#: Of these, those whose vectors are analysed.
SHARDS = [(1, 512), (7, 7)]
VECTORS = ("embedding_a", "embedding_b")
MEGABYTE = "Knead the dough slowly. " * 43_700
STARTED = time.monotonic()


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def command(*arguments):
    done = subprocess.run([sys.executable, "-m", "wimhf", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


#: Rules, and how the labels are changed that go against them.
RELABELLINGS = [
    (["refuses:prefer", "2:avoid"], {"action": "flip", "top": 50}),
    (["2:prefer", "3:avoid"], {"action": "drop", "min_score": 0.4}),
    (["1:prefer"], {"action": "weight", "weight": 0.25, "top": 7}),
]


@dataclasses.dataclass
class Machine:
    """What the command made on one machine."""

    table: pyarrow.Table
    run: Path
    scored: pyarrow.Table
    annotator: str
    personal: pyarrow.Table
    relabelled: list


def data(folder, pairs):
    """Planted pairs with a number each; among them null, empty and very long texts, as `plain.parquet` and, with wide
    offsets and in another order, as shards."""
    planted = folder / "planted.parquet"
    made = [sys.executable, ROOT / "benches/peers/planted.py", planted, "--pairs", str(pairs)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    table = pyarrow.parquet.read_table(planted)
    odd = table.slice(0, 4).to_pydict()
    odd["response_A"] = [None, "", MEGABYTE, "Bake it."]
    odd["response_B"] = ["Yes.", "No.", "Cool it on a rack.", MEGABYTE]
    table = pyarrow.concat_tables([table, pyarrow.table(odd, schema=table.schema)]).combine_chunks()
    # Scattered, so that most partitions have some.
    order = sorted(range(len(table)), key=lambda row: row * 7919 % len(table))
    table = table.take(pyarrow.array(order)).combine_chunks().append_column("id", pyarrow.array(range(len(order))))
    pyarrow.parquet.write_table(table, folder / "plain.parquet")
    return table


def wide(table):
    """The same with 64-bit offsets."""
    fields = [f.with_type(pyarrow.large_string()) if f.type == pyarrow.string() else f for f in table.schema]
    return table.cast(pyarrow.schema(fields))


def same(expected, found, what):
    """Whether two tables hold the same bits, row by row, once they stand in one order."""
    expected, found = expected.sort_by("id"), found.sort_by("id")
    assert found.num_rows == expected.num_rows, f"{what}: {found.num_rows} rows instead of {expected.num_rows}"
    assert found.column_names == expected.column_names, f"{what}: {found.column_names}"
    for name in expected.column_names:
        left, right = bits(expected.column(name)), bits(found.column(name))
        if left != right:
            rows = [row for row, (a, b) in enumerate(zip(left, right)) if a != b]
            raise AssertionError(f"{what}: `{name}` differs in {len(rows)} rows: {left[rows[0]]!r}, {right[rows[0]]!r}")


def bits(column):
    """Values as they are in memory, so that −0 and 0 differ and NaN is NaN."""
    whole = {pyarrow.float32(): pyarrow.int32(), pyarrow.float64(): pyarrow.int64()}
    column = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    kind = column.type
    if kind in whole:
        return column.view(whole[kind]).to_pylist()
    if any(is_kind(kind) for is_kind in LISTS):
        return lists(column)
    return column.to_pylist()


def lists(column):
    """The bytes of each list of floats; `None` where there is none."""
    lengths = pyarrow.compute.list_value_length(column).to_pylist()
    values = column.flatten().to_numpy(zero_copy_only=False)
    assert values.dtype == "float32", values.dtype
    found, at = [], 0
    for length in lengths:
        found.append(None if length is None else values[at:at + length].tobytes())
        at += length or 0
    return found


@contextlib.contextmanager
def place():
    """A folder for everything, and a cache that nobody may make."""
    with tempfile.TemporaryDirectory(prefix="wimhf-clusters-") as name:
        folder = Path(name)
        os.environ["WIMHF_CACHE_DIR"] = str(folder / "cache")
        yield folder


def listing(folder):
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(folder).rglob("*")}


def one_machine(folder, pairs):
    """The pairs, the command's run of them, and what it scores: alone and for one annotator."""
    table = data(folder, pairs)
    say(f"{table.num_rows:,} pairs")
    started = time.monotonic()
    run = folder / "run"
    command("analyze", folder / "plain.parquet", "--out", run, "--device", "cpu", "--quiet",
            "--save-embeddings", folder / "vectors.parquet")
    say(f"command: analyze, {time.monotonic() - started:.1f} s")
    command("personalize", run, "--quiet")
    weights = pyarrow.parquet.read_table(run / "annotator_weights.parquet")
    annotator = weights.column("annotator")[0].as_py()
    started = time.monotonic()
    command("score", run, folder / "plain.parquet", "--out", folder / "scored.parquet", "--explain", "--quiet")
    say(f"command: score, {time.monotonic() - started:.1f} s")
    command("score", run, folder / "plain.parquet", "--out", folder / "personal.parquet", "--no-features", "--quiet",
            "--annotator", annotator)
    read = pyarrow.parquet.read_table
    relabelled = []
    for at, (rules, options) in enumerate(RELABELLINGS):
        out = folder / f"relabelled-{at}.parquet"
        words = [word for rule in rules for word in ("--rule", rule)]
        words += [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), value)]
        command("relabel", run, *words, "--out", out, "--quiet")
        relabelled.append(read(out))
    return Machine(table, run, read(folder / "scored.parquet"), annotator, read(folder / "personal.parquet"), relabelled)


def vectors_are_the_commands(folder, embedded):
    """The vectors of every pair that the command embedded, by pair id; a pair may stand there the other way round."""
    kept = pyarrow.parquet.read_table(folder / "vectors.parquet")
    known = {pair: sides for pair, *sides in zip(kept.column("pair_id").to_pylist(), *(bits(kept.column(n)) for n in VECTORS))}
    ids = embedded.column("wimhf_pair_id").to_pylist()
    found = 0
    for pair, *sides in zip(ids, *(bits(embedded.column(name)) for name in VECTORS)):
        if pair in known and sides[0] is not None:
            found += 1
            assert sides == known[pair], f"the vectors of {pair} differ from those of the command"
    assert found > len(ids) * 0.4, f"only {found} of {len(ids)} pairs were found among the command's"
    say(f"embed: the vectors of {found:,} pairs are those of `--save-embeddings`")


def analyze_shards(folder, name, shards):
    """The command's run of shards with vectors."""
    out = folder / f"run-{name}"
    command("analyze", shards, "--out", out, "--device", "cpu", "--quiet", "--embedding-columns", ",".join(VECTORS))
    return out


def relabelled_is_the_commands(expected, found, marked, what):
    """Labels, and what stands beside them; scored rows have more columns."""
    same(expected, found.select(expected.column_names), what)
    changed = pyarrow.compute.sum(pyarrow.compute.not_equal(found["wimhf_action"], "keep")).as_py()
    dropped = found.num_rows < expected.num_rows or "drop" in what
    assert dropped or changed == marked > 0, f"{what}: {changed} of {marked}"


#: How far merged effects may be from those of one machine: of the value, or of what is about 1.
MERGED = 1e-10


def effects_are_the_commands(run, merged, what):
    """That effects from sums over parts are the run's, but for features that are not measured in parts."""
    ours = {row["feature_id"]: row for row in wimhf_effects(run)}
    rows = merged.to_arrow().to_pylist()
    checked = 0
    for row in rows:
        expected = ours[row["feature_id"]]
        # What has no figure, or a bounded one, on one machine has none in parts, and nothing else has.
        if expected["beta"] is None or expected["note"]:
            assert row["note"], f"{what}: {row}, {expected}"
            continue
        for name in ("beta", "beta_se", "beta_p", "beta_se_cluster", "beta_p_cluster", "n"):
            apart = abs(row[name] - expected[name])
            assert apart <= MERGED * max(1.0 if "_p" in name else 0.0, abs(expected[name]), 1e-3), \
                f"{what}: {row['feature_id']}: {name} {row[name]!r}, {expected[name]!r}"
        checked += 1
    assert checked >= 20, f"{what}: only {checked} of {len(rows)} features have figures"
    return checked


def wimhf_effects(run):
    import wimhf

    return wimhf.open(run).effects.to_arrow().to_pylist()


def same_findings(one, other):
    """That the findings of two runs do not depend on how many shards there were, or in which order rows stood."""
    for name in ("principles.json", "features.parquet", "activations.parquet", "sae.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), f"{name} depends on the shards"
    weights = [json.loads((run / "score" / "weights.json").read_text()) for run in (one, other)]
    for of in weights:
        del of["fingerprint"]  # of the files
    assert weights[0] == weights[1], "the weights depend on the shards"
    say("analyze: the same findings of one shard and of seven")


def size():
    """Pairs, as the command line says."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else 2000
