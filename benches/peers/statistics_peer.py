"""CPU seconds of the statistics stages as a Python pipeline does them, on made-up data.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python statistics_peer.py \
        [--pairs 100000] [--dimensions 384] [--threads 1] [--repeat 3] [--folder synthetic] [--json OUT.json]

The data set is generated once (in a process of its own, so that it does not count towards the peak
memory) as FOLDER/synthetic_PAIRSxDIMENSIONS.parquet with `prompt, response_A, response_B, label,
annotator_id, vec_a, vec_b`, and ..._encoder.parquet with the weights and the threshold of 32 features,
so that another program can be timed on the same input. Then, for each stage, user + system seconds
(getrusage) and wall seconds, median over the repeats, as JSON, with the figures that the stages came to
(so that the other program can be compared in what it computes, too) and the peak resident memory.
`cold_cpu_seconds` is the first repeat, in which the process asks the system for its memory: what one run
of a pipeline pays. One thread is the default: on busy cores BLAS threads wait by spinning, and the L1 fits,
many small products, then cost up to a hundred times as much.

Stages: load (Parquet to memory, texts as Python strings), split (connected components over prompts,
with scipy and with networkx), dedup (unordered response pairs), delta (two list columns to one matrix),
activations (product and threshold), embedding probe (scikit-learn, C=1), L1 top 5 and top 10 by bisection
with length free (skglm; liblinear beside it), 32 logits with length control (statsmodels), 32 win-rate
differences (statsmodels).
"""

import argparse
import json
import multiprocessing
import pathlib
import platform
import resource
import time

import peers

import networkx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy
import skglm
import sklearn
import statsmodels
import statsmodels.api as sm
import threadpoolctl

FEATURES, ACTIVE, FACTORS = 32, 4, 64


def sigma(x):
    return 1 / (1 + np.exp(-x))


# --- the data ---------------------------------------------------------------------------------------


def list_column(values):
    rows, width = values.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), pa.array(values.ravel()))


def texts(rng, vocabulary, lengths):
    """One text a length, of words drawn by Zipf's law."""
    weight = 1 / np.arange(1, len(vocabulary) + 1)
    drawn = rng.choice(len(vocabulary), lengths.sum(), p=weight / weight.sum())
    ends = np.cumsum(lengths)
    return [" ".join(vocabulary[i] for i in drawn[end - length : end]) for end, length in zip(ends, lengths)]


def generate(path, encoder_path, pairs, dimensions, seed):
    """Vectors are unit-length sums of a few of 64 hidden directions and noise; the label depends on six
    of the 32 directions that are features and on length; 2 pairs share a prompt on average; 1 % of the
    pairs are another pair turned round."""
    rng = np.random.default_rng(seed)
    syllables = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo"]
    vocabulary = np.unique(["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(8000)])
    rng.shuffle(vocabulary)
    vocabulary = vocabulary.tolist()
    directions = np.linalg.qr(rng.normal(size=(dimensions, FACTORS)))[0].T.astype(np.float32)

    factors, vectors, length = [], [], []
    for _ in range(2):
        on = rng.random((pairs, FACTORS), np.float32) < 0.08
        factor = np.where(on, rng.gamma(4, 0.25, on.shape), 0).astype(np.float32)
        vector = factor @ directions + rng.normal(scale=0.6 / dimensions**0.5, size=(pairs, dimensions)).astype(np.float32)
        vectors.append(vector / np.linalg.norm(vector, axis=1, keepdims=True))
        factors.append(factor)
        length.append(np.clip(rng.poisson(30 + 6 * factor[:, 0]), 5, None))
    responses = [texts(rng, vocabulary, lengths) for lengths in length]
    weight = np.zeros(FACTORS)
    weight[:12:2] = [1.2, -1.0, 0.8, -0.7, 0.5, 0.4]
    chance = sigma((factors[0] - factors[1]) @ weight + 0.02 * (length[0] - length[1]))
    label = (rng.random(pairs) < chance).astype(float)
    label[rng.random(pairs) < 0.02] = 0.5

    twins = rng.choice(pairs, 2 * (pairs // 100), replace=False).reshape(2, -1)
    for old, new in twins.T:
        responses[0][new], responses[1][new] = responses[1][old], responses[0][old]
        vectors[0][new], vectors[1][new] = vectors[1][old], vectors[0][old]
        label[new] = 1 - label[old]
    prompts = texts(rng, vocabulary, rng.integers(8, 17, pairs // 2))
    table = pa.table({
        "prompt": pa.array([prompts[i] for i in rng.integers(0, len(prompts), pairs)]),
        "response_A": pa.array(responses[0]), "response_B": pa.array(responses[1]), "label": label,
        "annotator_id": pa.array([f"annotator-{i}" for i in rng.integers(0, 200, pairs)]),
        "vec_a": list_column(vectors[0]), "vec_b": list_column(vectors[1]),
    })
    pre = (vectors[0][:20000] - vectors[1][:20000]) @ directions[:FEATURES].T
    threshold = float(np.float32(np.quantile(np.abs(pre), 1 - ACTIVE / FEATURES)))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"weights": list_column(directions[:FEATURES]), "threshold": [threshold] * FEATURES}), encoder_path)
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", row_group_size=20000)
    partial.replace(path)


# --- the stages -------------------------------------------------------------------------------------


def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()


class Clock:
    def __init__(self):
        self.stages = {}

    def __call__(self, name, work):
        cpu, wall = spent()
        result = work()
        cpu_after, wall_after = spent()
        self.stages.setdefault(name, []).append((cpu_after - cpu, wall_after - wall))
        return result


def load(path):
    table = peers.read(path)
    return table, {name: table[name].to_pylist() for name in ["prompt", "response_A", "response_B"]}


def networkx_components(prompts, train_share, seed):
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(prompts)))
    first = {}
    for row, prompt in enumerate(prompts):
        graph.add_edge(first.setdefault(prompt, row), row)
    groups = [list(group) for group in networkx.connected_components(graph)]
    train = np.zeros(len(prompts), bool)
    taken = 0
    for i in np.random.default_rng(seed).permutation(len(groups)):
        if taken < train_share * len(prompts):
            train[groups[i]] = True
            taken += len(groups[i])
    return train


def first_of_each(a, b):
    seen, kept = set(), []
    for row, (left, right) in enumerate(zip(a, b)):
        key = (left, right) if left <= right else (right, left)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return np.array(kept)


def activations(deltas, weights, threshold):
    pre = deltas @ weights.T
    pre[np.abs(pre) <= threshold] = 0
    return pre


def scaled(x):
    return (x - x.mean(0)) / x.std(0)


def logits(z, length, y):
    """beta, standard error and p of each feature beside length."""
    out = []
    for column in scaled(z.astype(float)).T:
        fit = sm.Logit(y, np.column_stack([np.ones(len(y)), column, length])).fit(disp=0)
        out.append([fit.params[1], fit.bse[1], fit.pvalues[1]])
    return np.array(out)


def win_rates(z, length, y):
    """The change in the chance to win from having more of a feature, where it is active."""
    out = []
    for column in z.T:
        on = column != 0
        ones, rest = np.ones(on.sum()), length[on]
        fit = sm.Logit(y[on], np.column_stack([ones, column[on] > 0, rest])).fit(disp=0)
        base = fit.params[0] + fit.params[2] * rest
        out.append((sigma(base + fit.params[1]) - sigma(base)).mean())
    return np.array(out)


def once(path, encoder, clock, solvers):
    weights = peers.vectors(encoder, "weights")
    threshold = encoder["threshold"][0].as_py()
    table, text = clock("load", lambda: load(path))
    train_side = clock("split_scipy", lambda: peers.split(table, ["prompt"], 0.8, 0))
    clock("split_networkx", lambda: networkx_components(text["prompt"], 0.8, 0))
    kept = clock("dedup", lambda: first_of_each(text["response_A"], text["response_B"]))
    deltas = clock("delta", lambda: peers.vectors(table, "vec_a") - peers.vectors(table, "vec_b"))
    words = clock("words", lambda: peers.words(text["response_A"]) - peers.words(text["response_B"]))
    z = clock("activations", lambda: activations(deltas, weights, threshold))

    label = table["label"].to_numpy()
    rows = kept[label[kept] != 0.5]
    train, test = rows[train_side[rows]], rows[~train_side[rows]]
    length = scaled(words[rows].astype(float))
    out = {"rows": table.num_rows, "kept": len(kept), "train": len(train), "test": len(test), "active": float((z != 0).sum(1).mean())}
    out["auc_embedding"] = clock("embedding_probe", lambda: peers.held_out_auc(deltas, label, train, test))

    place = np.zeros(table.num_rows, int)
    place[rows] = np.arange(len(rows))
    features = scaled(z[train].astype(float))
    for solver in solvers:
        for count in [5, 10]:
            # A lasso of its own each, as the reference does; the two could share their path.
            choose = lambda: peers.Lasso(features, length[place[train]], label[train], solver).choose(count)
            out[f"top{count}_{solver}"] = clock(f"lasso_top{count}_{solver}", choose).tolist()
    effects = clock("logits", lambda: logits(z[rows], length, label[rows]))
    out["beta"], out["se"] = effects[:, 0].tolist(), effects[:, 1].tolist()
    out["win_delta"] = clock("win_rates", lambda: win_rates(z[rows], length, label[rows])).tolist()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--solvers", nargs="+", default=["skglm", "liblinear"])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("synthetic"))
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    peers.quiet()

    path = args.folder / f"synthetic_{args.pairs}x{args.dimensions}.parquet"
    encoder_path = path.with_name(path.stem + "_encoder.parquet")
    if not path.exists():
        job = (path, encoder_path, args.pairs, args.dimensions, args.seed)
        child = multiprocessing.get_context("spawn").Process(target=generate, args=job)
        child.start()
        child.join()
        assert child.exitcode == 0, "could not generate the data"

    clock = Clock()
    pa.set_cpu_count(args.threads)
    pa.set_io_thread_count(args.threads)
    encoder = pq.read_table(encoder_path)
    with threadpoolctl.threadpool_limits(args.threads):
        if "skglm" in args.solvers:
            # numba compiles on the first fit: not a cost per data set.
            tiny = np.random.default_rng(0).normal(size=(200, 5))
            clock("compile_skglm", lambda: peers.Lasso(tiny, tiny[:, 0], (tiny[:, 1] > 0).astype(float)).choose(2))
        for _ in range(args.repeat):
            figures = once(path, encoder, clock, args.solvers)
    stages = {
        name: dict(zip(["cpu_seconds", "wall_seconds"], np.median(values, axis=0).round(4).tolist())) | {"cold_cpu_seconds": round(values[0][0], 4)}
        for name, values in clock.stages.items()
    }
    report = {
        "pairs": args.pairs, "dimensions": args.dimensions, "threads": args.threads, "repeat": args.repeat,
        "stages": stages,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "blas": sorted({f"{lib['internal_api']} {lib.get('version')} {lib.get('architecture', '')}".strip() for lib in threadpoolctl.threadpool_info()}),
        "versions": {"python": platform.python_version()} | {m.__name__: m.__version__ for m in [np, scipy, sklearn, statsmodels, skglm, networkx, pa]},
        "figures": figures,
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "figures"}, indent=1))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
