"""What the peer scripts share: reading, splitting, deduplicating, and the logistic models, with the
libraries that a Python pipeline would use (pyarrow, scipy, scikit-learn, skglm).

Conventions: `label` is 1 where response A was preferred, 0 where B was, anything else a tie; a delta is
e(A) - e(B); a length difference is counted in words, A - B.
"""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score


def read(path):
    """A table with the pair columns."""
    return pq.read_table(path)


def vectors(table, name):
    """A [rows, dimensions] float32 array from a list column, copied once."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)


def words(texts):
    return np.array([len((text or "").split()) for text in texts], np.int64)


def split(table, columns, train_share, seed):
    """True where a row belongs to the train side.

    Rows that share a value in any of the columns are one component; components are shuffled and go to
    the train side until it is full. A missing value links nothing.
    """
    rows = table.num_rows
    ends, starts, nodes = [], [], rows
    for name in columns:
        code = table[name].combine_chunks().dictionary_encode()
        if isinstance(code, pa.ChunkedArray):
            code = pa.concat_arrays(code.unify_dictionaries().chunks)
        index = code.indices.to_numpy(zero_copy_only=False).astype(float)
        present = np.flatnonzero(np.isfinite(index))
        starts.append(present)
        ends.append(nodes + index[present].astype(np.int64))
        nodes += len(code.dictionary)
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][:rows]
    sizes = np.bincount(component)
    present = np.flatnonzero(sizes)
    order = np.random.default_rng(seed).permutation(present)
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = order[before + sizes[order] / 2 <= train_share * rows]
    return np.isin(component, chosen)


def first_of_each(table, rows):
    """The first row of each unordered pair of responses."""
    a, b = table["response_A"].to_pylist(), table["response_B"].to_pylist()
    seen, kept = set(), []
    for row in rows:
        key = (a[row], b[row]) if (a[row] or "") <= (b[row] or "") else (b[row], a[row])
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return np.array(kept)


def standardised(columns, train):
    """Each column with mean 0 and deviation 1 on the train rows; a constant column becomes zero."""
    columns = np.asarray(columns, float).reshape(len(train), -1)
    deviation = columns[train].std(0)
    return (columns - columns[train].mean(0)) / np.where(deviation > 0, deviation, 1)


def held_out_auc(columns, y, train, test, c=1.0):
    """AUC on the held-out rows of an L2 logistic regression over the columns as they are."""
    columns = columns.reshape(len(y), -1)
    model = LogisticRegression(C=c, max_iter=1000).fit(columns[train], y[train])
    return roc_auc_score(y[test], model.decision_function(columns[test]))


class Lasso:
    """L1 logistic regression with intercept and length unpenalised, by one of two solvers.

    `skglm`: weighted L1 by its proximal Newton solver, warm-started. `liblinear`: scikit-learn's
    coordinate descent, with the free columns scaled up by 1,000 so that their penalty vanishes.
    """

    def __init__(self, z, length, y, solver="skglm"):
        self.free, self.y, self.solver = 2, y, solver
        self.x = np.asfortranarray(np.column_stack([np.ones(len(y)), length, z]))
        null = LogisticRegression(C=1e6, max_iter=1000).fit(self.x[:, 1:2], y)
        gradient = self.x[:, 2:].T @ (y - null.predict_proba(self.x[:, 1:2])[:, 1])
        self.top = np.abs(gradient).max() / len(y)
        if solver == "skglm":
            from skglm import GeneralizedLinearEstimator
            from skglm.datafits import Logistic
            from skglm.penalties import WeightedL1
            from skglm.solvers import ProxNewton

            self.penalty = WeightedL1(self.top, np.r_[0.0, 0.0, np.ones(z.shape[1])])
            # The intercept is a column: skglm 0.5 fails on its own with weighted penalties.
            inner = ProxNewton(tol=1e-6, max_iter=50, fit_intercept=False, warm_start=True)
            self.model = GeneralizedLinearEstimator(Logistic(), self.penalty, inner)
        else:
            self.x[:, :2] *= 1000

    def fit(self, strength):
        """The coefficients of the features at a penalty of mean loss + strength * |b|."""
        if self.solver == "skglm":
            self.penalty.alpha = strength
            self.model.fit(self.x, 2 * self.y - 1)
        else:
            self.model = LogisticRegression(
                l1_ratio=1.0, solver="liblinear", C=1 / (strength * len(self.y)), fit_intercept=False, tol=1e-4, max_iter=500
            ).fit(self.x, self.y)
        return np.ravel(self.model.coef_)[2:]

    def choose(self, count):
        """The features of the weakest penalty found by bisection that leaves `count` of them."""
        low, high = self.top * 1e-4, self.top
        best = np.array([], int)
        for _ in range(40):
            middle = np.sqrt(low * high)
            chosen = np.flatnonzero(self.fit(middle))
            if len(best) < len(chosen) <= count:
                best = chosen
            if len(chosen) == count:
                break
            low, high = (middle, high) if len(chosen) > count else (low, middle)
        return best


def quiet():
    warnings.filterwarnings("ignore")
