"""Opens every file that a run and `wimhf export` leave with the programs that people use.

    python tables_read.py RUN

RUN holds, besides what `analyze` left, `trl.jsonl`, `trl.parquet`, `icai.csv` and `pairs.csv`. Fails on the first
file that does not open, has other columns or types than documented, or disagrees with the others.
"""

import json
import sys
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
from safetensors.numpy import load_file

run = Path(sys.argv[1])
record = json.loads((run / "run.json").read_text("utf-8"))
pairs_used = record["dataset"]["pairs_unique"]

# Every Parquet file, in three programs: the same shape, names and types.
PAIRS = {"pair_id": pl.String, "row": pl.UInt32, "side": pl.String, "label": pl.Float64}
FEATURES = {
    "feature_id": pl.String, "source": pl.String, "description": pl.String, "short": pl.String,
    "describer": pl.String, "fidelity": pl.Float64, "fidelity_low": pl.Float64, "fidelity_high": pl.Float64,
    "fidelity_n": pl.UInt32, "fidelity_p": pl.Float64, "read_right": pl.UInt32, "read_n": pl.UInt32, "kept": pl.Boolean, "redundant_with": pl.String,
    "prevalence": pl.Float64, "beta": pl.Float64, "beta_se": pl.Float64, "beta_p": pl.Float64,
    "win_delta": pl.Float64, "win_low": pl.Float64, "win_high": pl.Float64, "p_bonferroni": pl.Float64,
    "q_bh": pl.Float64, "top_terms": pl.List(pl.String), "examples": pl.List(pl.String),
}
files = sorted(run.glob("*.parquet")) + sorted((run / "stages").glob("*.parquet"))
assert {"pairs.parquet", "features.parquet", "activations.parquet", "trl.parquet"} <= {f.name for f in files}, files
for file in files:
    polars, pandas = pl.read_parquet(file), pd.read_parquet(file)
    columns = [row[0] for row in duckdb.sql(f"describe select * from '{file}'").fetchall()]
    count = duckdb.sql(f"select count(*) from '{file}'").fetchall()[0][0]
    assert polars.columns == list(pandas.columns) == columns, file
    assert polars.height == len(pandas) == count, file
    assert polars.height > 0, file
    expected = {"pairs.parquet": PAIRS, "features.parquet": FEATURES}.get(file.name, {})
    for name, dtype in expected.items():
        assert polars.schema[name] == dtype, f"{file.name}: {name} is {polars.schema[name]}, not {dtype}"
activations = pl.read_parquet(run / "activations.parquet")
features = pl.read_parquet(run / "features.parquet")
assert activations.columns[1:] == features["feature_id"].to_list()
assert all(dtype == pl.Float32 for dtype in activations.dtypes[1:])
assert activations.height == pairs_used and activations["pair_id"].is_unique().all()
# A join that people make (votes go by who clearly has it): the share of labels that a principle's votes agree with, on held-out ones.
principles = json.loads((run / "principles.json").read_text("utf-8"))["principles"]
for principle in principles[:3]:
    feature = principle["feature_ids"][0]
    agree, disagree = duckdb.sql(
        f"""select count(*) filter (where ("{feature}" > 0) = (label > .5)), count(*) filter (where ("{feature}" > 0) <> (label > .5))
        from '{run}/pairs.parquet' join '{run}/presence.parquet' using (pair_id)
        where side = 'held_out' and label <> .5 and "{feature}" <> 0"""
    ).fetchall()[0]
    assert (agree, disagree) == (principle["agree"], principle["disagree"]), (feature, agree, disagree)
table = pd.read_csv(run / "principles.csv", float_precision="round_trip")
assert len(table) == len(principles)
assert np.allclose(table["win_delta"], [p["win_delta"] for p in principles], rtol=0, atol=0)

# What trainers read.
rows = {}
for builder, file in [("json", "trl.jsonl"), ("parquet", "trl.parquet")]:
    rows[file] = datasets.load_dataset(builder, data_files=str(run / file), split="train", cache_dir=str(run / "cache"))
    assert {"prompt", "chosen", "rejected"} <= set(rows[file].column_names)
    assert all(isinstance(row[key], str) for row in rows[file] for key in ("prompt", "chosen", "rejected"))
assert rows["trl.jsonl"]["chosen"][:] == rows["trl.parquet"]["chosen"][:]
assert rows["trl.jsonl"]["pair_id"][:] == rows["trl.parquet"]["pair_id"][:]
icai = pd.read_csv(run / "icai.csv")
assert set(icai["preferred_text"]) <= {"text_a", "text_b"} and len(icai) == rows["trl.jsonl"].num_rows
won = icai["text_a"].where(icai["preferred_text"] == "text_a", icai["text_b"])
assert won.to_list() == rows["trl.jsonl"]["chosen"][:]
plain = pd.read_csv(run / "pairs.csv", keep_default_na=False)
assert (plain["label"].astype(float) != 0.5).sum() == len(icai)

# The autoencoder over differences in numpy, as docs/formats.md has it: the code there is what runs here.
deltas = load_file(run / "stages" / "deltas.safetensors")
(name,) = deltas
example = Path(__file__).parents[2] / "docs" / "formats.md"
code = example.read_text("utf-8").split("```python activations\n", 1)[1].split("```", 1)[0]
scope = {"run": run, "delta": deltas[name]}
exec(code, scope)  # noqa: S102 our own documentation
difference = features.filter(pl.col("source") == "difference")["feature_id"].to_list()
ours = activations.select(difference).to_numpy()
worst = np.abs(scope["z"] - ours).max()
assert worst <= 1e-5, f"numpy's activations differ by {worst}"
print(f"{len(files)} Parquet files, {len(principles)} principles, numpy's activations differ by at most {worst:.1e}")
