"""What the learned features are worth, by `wimhf analyze` itself: planted attributes found, label AUC, stability.

    python truth.py VECTORS.parquet [--attributes NAME_attributes.parquet] [--wimhf target/release/wimhf]
                    [--seeds 1 2 3] [--modes sentences difference]

VECTORS has `vec_a` and `vec_b` beside the pairs; without them (--boxed) the boxed embedder is used. The
split is the program's (35 % train, 20 % describe, 45 % held out), every figure is held out. An
attribute is recovered when a learned feature correlates with its difference at |r| > .5; `last` means
recurrence: the mean over a run's kept features of the best |correlation| with any feature of another
seed's run, on the pairs that neither trained on. See docs/autoencoder.md.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import pyarrow.parquet as pq


def run(args, mode, seed, out):
    command = [args.wimhf, "analyze", args.input, "--seed", str(seed), "--device", "cpu", "--quiet", "--force", "--out", out]
    if not args.boxed:
        command += ["--embedding-columns", "vec_a,vec_b"]
    command += ["--sae-mode", *mode.split()]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return out


def correlation(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.outer(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))
    return np.abs(a.T @ b) / np.where(size > 0, size, np.inf)


def attributes_of(path, source, pairs):
    """Differences A − B as the run has its pairs: the run may turn a pair round."""
    table = pq.read_table(path)
    names = sorted({name[:-2] for name in table.column_names if name.lower().endswith("_a")})
    column = lambda name, end: table[[c for c in table.column_names if c.lower() == (name + end).lower()][0]].to_numpy().astype(float)
    rows = pairs["row"].to_numpy()
    words = lambda name: np.array([len((text or "").split()) for text in source[name].to_pylist()])
    length = (words("response_A") - words("response_B"))[rows]
    sign = np.sign(length) * np.sign(pairs["length_delta"].to_numpy())
    return names, np.column_stack([(column(n, "_a") - column(n, "_b"))[rows] for n in names]) * sign[:, None], sign != 0


def tuned_probe(path, pairs, deltas_of):
    """AUC of a logistic on the raw deltas whose C is chosen by five folds within train + describe; NaN without vectors."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import roc_auc_score

    if "vec_a" not in pq.read_schema(path).names:
        return float("nan")
    x, y = deltas_of(), pairs["label"].to_numpy()
    held, labelled = (pairs["side"] == "held_out").to_numpy(), np.isfinite(y) & (y != 0.5)
    fit, test = labelled & ~held, labelled & held
    grid = [0.1, 0.3, 1, 3, 10, 30, 100]
    probe = LogisticRegressionCV(Cs=grid, cv=5, scoring="neg_log_loss", max_iter=1000).fit(x[fit], y[fit] > 0.5)
    return float(roc_auc_score(y[test] > 0.5, probe.decision_function(x[test])))


def oriented_deltas(path, pairs):
    """vec_a − vec_b as the run has its pairs."""
    table = pq.read_table(path, columns=["response_A", "response_B", "vec_a", "vec_b"])
    vectors = lambda name: np.array(table[name].combine_chunks().flatten()).reshape(table.num_rows, -1)
    words = lambda name: np.array([len((text or "").split()) for text in table[name].to_pylist()])
    rows = pairs["row"].to_numpy()
    sign = np.sign((words("response_A") - words("response_B"))[rows]) * np.sign(pairs["length_delta"].to_numpy())
    return (vectors("vec_a") - vectors("vec_b"))[rows] * np.where(sign == 0, 1, sign)[:, None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("--attributes", type=pathlib.Path)
    parser.add_argument("--wimhf", default="target/release/wimhf")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--modes", nargs="+", default=["sentences", "difference"])
    parser.add_argument("--boxed", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    names = [n for n in pq.read_schema(args.input).names if n.startswith("response")]
    source = pq.read_table(args.input, columns=names) if args.attributes else None
    everything = {}
    for mode in args.modes:
        runs = []
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:
                out = run(args, mode, seed, pathlib.Path(folder) / "run")
                metrics = json.loads((out / "run.json").read_text())["metrics"]
                pairs = pq.read_table(out / "pairs.parquet").to_pandas()
                pairs = pairs.drop_duplicates("pair_id")
                features = pq.read_table(out / "features.parquet", columns=["feature_id", "source", "stability", "kept"]).to_pandas()
                table = pq.read_table(out / "activations.parquet").to_pandas().set_index("pair_id").loc[pairs["pair_id"]]
            learned = features[features["source"] == "learned"]
            z = table[learned["feature_id"].tolist()].to_numpy()
            held = (pairs["side"] == "held_out").to_numpy()
            auc = {name: figure and figure["value"] for name, figure in metrics["auc"].items()}
            gap = metrics["auc_minus_embedding"].get("learned") or {}
            one = {
                "seed": seed, "learned_minus_embedding": [round(gap[k], 4) for k in ("value", "low", "high")] if gap else None,
                "auc_embedding_tuned": tuned_probe(args.input, pairs, lambda: oriented_deltas(args.input, pairs)),
                **{f"auc_{n}": auc.get(n) for n in ("length", "learned", "learned_and_known", "embedding")},
                "nmse": metrics["nmse"], "active": metrics["active_mean"], "dead": metrics["dead"],
                "kept": int(learned["kept"].sum()), "stability": float(learned["stability"].mean()),
                "stability_kept": float(learned[learned["kept"]]["stability"].mean()),
            }
            if args.attributes:
                labels, truth, known = attributes_of(args.attributes, source, pairs)
                use = held & known
                best = correlation(truth[use], z[use]).max(1)
                one["recovered"], one["attributes"] = int((best > 0.5).sum()), dict(zip(labels, best.round(3).tolist()))
                every = table.to_numpy()
                both = correlation(truth[use], every[use]).max(1)
                one["recovered_with_known"] = int((both > 0.5).sum())
            runs.append((one, pairs.assign(held=held), z, learned["kept"].to_numpy()))
            print(mode, {k: (round(v, 4) if isinstance(v, float) else v) for k, v in one.items() if k != "attributes"}, flush=True)
        recurs = []
        for i, (_, p, z, kept) in enumerate(runs):
            for j, (_, q, other, _) in enumerate(runs):
                if i != j and kept.any():
                    shared = p.reset_index(drop=True).reset_index().merge(q.reset_index(drop=True).reset_index(), on="pair_id")
                    shared = shared[shared["held_x"] & shared["held_y"]]
                    sign = np.sign(shared["length_delta_x"].to_numpy()) * np.sign(shared["length_delta_y"].to_numpy())
                    a, b = z[shared["index_x"]][:, kept], other[shared["index_y"]] * sign[:, None]
                    recurs.append(correlation(a[sign != 0], b[sign != 0]).max(1).mean())
        mean = {k: float(np.mean([r[0][k] for r in runs])) for k in runs[0][0] if isinstance(runs[0][0][k], (int, float)) and k != "seed"}
        mean["recurrence_kept"] = float(np.mean(recurs)) if recurs else None
        everything[mode] = {"mean": mean, "runs": [r[0] for r in runs]}
        print(f"= {mode}: " + ", ".join(f"{k} {v:.4f}" for k, v in mean.items() if v is not None), flush=True)
        if args.attributes:
            print("  best |r|: " + ", ".join(f"{n} " + "/".join(f"{r[0]['attributes'][n]:.2f}" for r in runs) for n in runs[0][0]["attributes"]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
