"""`wimhf score` beside what anyone would try first: TF-IDF of words and word pairs, with both lengths.

    python benches/peers/score_peer.py WIMHF SET.parquet … [--seeds 3]

Both see the same labels of the same split: weights and penalty come from the run's `train` and `describe` labels (the
penalty by five folds, prompts kept together), AUC and log loss from its `held_out` ones. The peer is scikit-learn's:
TfidfVectorizer (1-2 words, at least three responses, 1 + log tf), A minus B, the difference of the words and the log of
their ratio, LogisticRegression, every pair also the other way round. Sets have `prompt, response_A, response_B, label`.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold


def tune(x, y, groups):
    """C with the best likelihood in five folds, then its fit; `None` among them is the lengths alone (last two columns)."""

    def fit(rows, c):
        weighed = x[rows] if c else x[rows][:, -2:]
        both, labels = sp.vstack([weighed, -weighed]).tocsr(), np.concatenate([y[rows], 1 - y[rows]])
        return LogisticRegression(C=(c or 1.0) / 2, fit_intercept=False, max_iter=2000).fit(both, labels)

    def predict(model, rows, c):
        return model.predict_proba(x[rows] if c else x[rows][:, -2:])[:, 1]

    def loss(c):
        parts = GroupKFold(5).split(x, y, groups)
        return sum(log_loss(y[b], predict(fit(a, c), b, c), labels=[0, 1], normalize=False) for a, b in parts)

    best = min([None, 0.1, 0.3, 1.0, 3.0, 10.0], key=loss)
    model = fit(np.arange(len(y)), best)
    return lambda z: model.predict_proba(z if best else z[:, -2:])[:, 1]


def peer(table, data):
    """AUC and log loss of the peer on the run's held-out labels."""
    rows = data.iloc[table["row"]]
    swap = table["swapped"].to_numpy()
    a = np.where(swap, rows["response_B"], rows["response_A"])
    b = np.where(swap, rows["response_A"], rows["response_B"])
    held_out = (table["side"] == "held_out").to_numpy()
    y = table["label"].to_numpy().astype(int)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
    words.fit(np.concatenate([a[~held_out], b[~held_out]]))
    lengths = table[["length_delta", "length_log_ratio"]].to_numpy()
    # Large beside the terms, so that the penalty does not touch them.
    scale = 10 / np.sqrt((lengths[~held_out] ** 2).mean(0))
    x = sp.hstack([words.transform(a) - words.transform(b), sp.csr_matrix(lengths * scale)]).tocsr()
    model = tune(x[~held_out], y[~held_out], table["prompt_id"][~held_out])
    p = model(x[held_out])
    return roc_auc_score(y[held_out], p), log_loss(y[held_out], p, labels=[0, 1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("wimhf")
    arguments.add_argument("sets", nargs="+")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--analyze", default="", help="further arguments of `wimhf analyze`")
    given = arguments.parse_args()
    print(f"{'set':<28} {'seed':>4} {'held out':>8}   {'score AUC':>9} {'TF-IDF':>7}   {'score nats':>10} {'TF-IDF':>7}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for path in given.sets:
            data = pd.read_parquet(path)
            for seed in range(1, given.seeds + 1):
                run = pathlib.Path(folder) / f"{pathlib.Path(path).stem}-{seed}"
                quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                more = given.analyze.split()
                subprocess.run([given.wimhf, "analyze", path, "--out", run, "--seed", str(seed), *more], **quiet)
                subprocess.run([given.wimhf, "score", run, path, "--no-features"], **quiet)
                ours = json.loads((run / "score" / "weights.json").read_text())["full"]["held_out"]
                table = pd.read_parquet(run / "pairs.parquet")
                table = table[table["label"].notna() & (table["label"] != 0.5)].reset_index(drop=True)
                table = table[table["label"].isin([0, 1])].reset_index(drop=True)
                auc, nats = peer(table, data)
                row = (ours["auc"]["value"], auc, ours["log_loss"], nats)
                found.append(row)
                print(
                    f"{pathlib.Path(path).stem:<28} {seed:>4} {int((table['side'] == 'held_out').sum()):>8}   "
                    f"{row[0]:>9.3f} {row[1]:>7.3f}   {row[2]:>10.3f} {row[3]:>7.3f}",
                    flush=True,
                )
    mean = np.mean(found, axis=0)
    print(f"{'mean':<28} {'':>4} {'':>8}   {mean[0]:>9.3f} {mean[1]:>7.3f}   {mean[2]:>10.3f} {mean[3]:>7.3f}")


if __name__ == "__main__":
    main()
