"""What features have to do with labels, from sums over parts of a scored table.

The figures are those of `Run.effects` for activations: the coefficient of a feature by maximum likelihood with both
lengths held fixed, and its error clustered by prompt and annotator as in `src/effects/clusters.rs`. Everything is a sum
over rows or over clusters: Newton's steps take one pass each, and the last pass brings the rows of a cluster together
wherever they lay. Texts are read once, in the first pass, which leaves numbers alone for the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Sequence

from wimhf import _wimhf
from wimhf._errors import InputError
from wimhf._table import Table, _library, frame

if TYPE_CHECKING:
    import pyarrow

#: Coefficients of a fit: the constant, the difference of the words, the logarithm of their ratio, the feature.
K = 4
#: Sums that a cluster has of each feature: value, its square, spread, reach, and what the fit takes up.
OF_CLUSTER = 4 + K
#: What is summed over clusters for each feature; see :func:`_over_clusters`.
OF_KIND = 11 + 2 * K * K
#: Bytes of the clusters that one worker puts together at a time.
SHARD = 64 << 20
#: Of each column; see :func:`moments`.
MOMENTS = 8
#: Rows that are worked on at once.
BLOCK = 4096
#: Kinds of clusters. Prompts are the base; annotators add what they vary by beyond their prompts.
PROMPT, ANNOTATOR, BOTH = range(3)
#: Fits that have a maximum settle long before this.
MOST_STEPS = 40
FEWEST_PROMPTS = 5
FEWEST_PEOPLE = 4.0
FEW_PEOPLE = 20.5
MOST_LEVERAGE = 0.98
#: Runs of anything but white space, as the command counts words.
_WORD = re.compile("[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")


@dataclass(frozen=True)
class Fits:
    """What every worker has to know for the next pass."""

    features: tuple[str, ...]
    """Columns of activations."""
    controlled: tuple[bool, ...]
    """Whether length is held fixed, `[features]`; not for features that are about length."""
    label: str
    annotator: str | None
    prompt: str | None
    responses: tuple[str, str]
    by_pair: bool = False
    """Prompts are too few to say anything about other prompts: a pair is what labels share."""
    shards: int = 1
    """Parts that the clusters are put together in, of some 64 MB each."""
    mean: Any = None
    """Of both lengths and of each feature, `[2 + features]`."""
    sd: Any = None
    beta: Any = None
    """`[features, K]`, on the standardised scale."""
    unsettled: tuple[int, ...] = ()
    """Features whose fit takes another step."""
    covariance: Any = None
    """`[features, K, K]`, with zeros where length is not held fixed."""

    @property
    def columns(self) -> list[str]:
        """The columns of the scored table that are read."""
        some = [self.label, self.annotator, self.prompt, *self.responses, "wimhf_pair_id", *self.features]
        return list(dict.fromkeys(name for name in some if name))


def plan(run: str | os.PathLike[str], there: Iterable[str], *, features: Sequence[str] | None = None,
         label: str = "label", annotator: str | None = None, prompt: str | None = "prompt",
         response_a: str = "response_A", response_b: str = "response_B") -> tuple[Fits, dict[str, str]]:
    """Which features are measured, and their words, before any row was seen."""
    native = _wimhf.NativeRun.open(os.fspath(run))
    rows = Table(native.table("effects")).to_arrow().to_pylist()
    known = {row["feature_id"]: row for row in rows}
    names = set(there)
    usable = [name for name in known if name in names and _why_not(native, known[name]) is None]
    chosen = list(features) if features is not None else usable
    for name in chosen:
        if name not in usable:
            what = "is no feature of the run" if name not in known else (
                "is no column of the table: score it with features" if name not in names else _why_not(native, known[name]))
            raise InputError(f"`{name}` {what}\nhint: {', '.join(usable[:5])}, …", "features")
    wanted = Fits(tuple(chosen), tuple(bool(known[name]["length_controlled"]) for name in chosen), label, annotator,
                  prompt, (response_a, response_b))
    missing = [name for name in wanted.columns if name not in names]
    if missing or not chosen:
        raise InputError(
            f"the table has no column `{missing[0]}`\nhint: score it first, with features; name `label`, `annotator`, "
            "`prompt` (None: there is none), `response_a` and `response_b`" if missing else
            "there is no feature to measure\nhint: score the table with features", None)
    return wanted, {name: str(known[name]["description"] or "") for name in chosen}


def _why_not(native: _wimhf.NativeRun, feature: Mapping[str, Any]) -> str | None:
    """Why a feature is not measured on activations."""
    if feature["source"] == "theme":
        return "is a theme, which labels found, so labels cannot test it in parts"
    # Known features are detectors that stand in the table as they are.
    if feature["source"] != "known" and json.loads(native.rules([f"{feature['feature_id']}:prefer"], None))[0]["reads_responses"]:
        return "is measured where its words stand in a response, which is not read in parts"
    return None


# ------------------------------------------------------------------------------------------------ passes over rows


def prepared_schema() -> pyarrow.Schema:
    """Of :func:`prepared`."""
    arrow = _library("pyarrow")
    return arrow.schema([("y", arrow.float64()), ("outside", arrow.bool_()), ("length", arrow.float64()), ("ratio", arrow.float64()),
                         ("prompt", arrow.int64()), ("pair", arrow.int64()), ("person", arrow.int64()),
                         ("z", arrow.list_(arrow.float32()))])


def prepared(batch: Any, of: Fits) -> pyarrow.Table:
    """A scored batch as numbers: of each label that counts its value, both lengths, the numbers of its prompt, pair and
    annotator, and the activations; of one that says nothing only that."""
    numpy, arrow = _library("numpy"), _library("pyarrow")
    y = _floats(batch, of.label)
    outside = (y < 0) | (y > 1)
    z = numpy.stack([_floats(batch, name) for name in of.features], axis=1)
    at = numpy.flatnonzero(outside | (numpy.isfinite(y) & (y != 0.5) & numpy.isfinite(z).all(axis=1)))
    words = [numpy.array([len(_WORD.findall(text or "")) for text in _taken(batch, name, at)], dtype=numpy.float64)
             for name in of.responses]
    pairs = _taken(batch, "wimhf_pair_id", at)
    texts = _taken(batch, of.prompt, at) if of.prompt is not None else [None] * len(at)
    plain = (" ".join(_WORD.findall(text or "")) for text in texts)
    names = _taken(batch, of.annotator, at) if of.annotator is not None else [None] * len(at)
    ratio = numpy.log(1 + words[0]) - numpy.log(1 + words[1])
    # Activations have 32 bits.
    values = arrow.array(z[at].astype(numpy.float32).ravel(), arrow.float32())
    offsets = arrow.array(numpy.arange(len(at) + 1) * len(of.features), arrow.int32())
    columns = [
        y[at], outside[at], words[0] - words[1],
        # The command keeps 32 bits of it.
        ratio.astype(numpy.float32).astype(numpy.float64),
        # Pairs without a prompt share nothing, and labels of nobody neither.
        _numbers(f"prompt {text}" if text else f"pair {pair}" for text, pair in zip(plain, pairs)),
        _numbers(f"pair {pair}" for pair in pairs),
        _numbers(f"person {name}" if name not in (None, "") else f"nobody {pair} {row} {label}"
                 for name, pair, row, label in zip(names, pairs, at, y[at])),
        arrow.ListArray.from_arrays(offsets, values),
    ]
    return arrow.table(columns, schema=prepared_schema())


def _floats(batch: Any, name: str) -> Any:
    numpy = _library("numpy")
    # Nulls become NaN.
    return numpy.array(batch.column(name).cast(_library("pyarrow").float64()).__array__(), dtype=numpy.float64)


def _taken(batch: Any, name: str, at: Any) -> list[str | None]:
    taken: list[str | None] = batch.column(name).take(_library("pyarrow").array(at)).to_pylist()
    return taken


def _numbers(names: Iterable[str]) -> Any:
    """A number for each name, by hash."""
    hashes = (hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest() for name in names)
    return _library("numpy").frombuffer(b"".join(hashes), dtype="<i8")


@dataclass
class _Rows:
    """What :func:`prepared` made of a batch, without labels that say nothing."""

    y: Any
    lengths: Any
    """`[rows, 2]`"""
    z: Any
    """`[rows, features]`"""
    counts: Any
    """Which rows of the batch they are."""


def _rows(of: Fits, batch: Any) -> _Rows:
    numpy = _library("numpy")
    counts = ~numpy.asarray(batch.column("outside"))
    z = numpy.asarray(_whole(batch.column("z")).flatten(), dtype=numpy.float64).reshape(len(counts), len(of.features))
    lengths = numpy.stack([numpy.asarray(batch.column(name)) for name in ("length", "ratio")], axis=1)
    return _Rows(numpy.asarray(batch.column("y"))[counts], lengths[counts], z[counts], counts)


def _whole(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column


def sums_schema() -> pyarrow.Schema:
    """Of what a pass over rows gives."""
    arrow = _library("pyarrow")
    return arrow.schema([("sums", arrow.list_(arrow.float64()))])


def _one_row(sums: Any) -> pyarrow.Table:
    return _library("pyarrow").Table.from_pylist([{"sums": sums.ravel().tolist()}], schema=sums_schema())


def moments(batch: Any, of: Fits) -> pyarrow.Table:
    """Of both lengths and of every feature: labels, Σ label, Σ, Σ of squares, least, largest, how many are not 0, and labels
    that say nothing."""
    numpy = _library("numpy")
    rows = _rows(of, batch)
    x = numpy.concatenate([rows.lengths, rows.z], axis=1)
    none = len(rows.y) == 0
    least, largest = (numpy.full(x.shape[1], numpy.inf), numpy.full(x.shape[1], -numpy.inf)) if none else (x.min(0), x.max(0))
    count = numpy.full(x.shape[1], float(len(rows.y)))
    return _one_row(numpy.stack([count, numpy.full(x.shape[1], rows.y.sum()), x.sum(0), (x * x).sum(0), least, largest,
                                 (x != 0).sum(0).astype(float), numpy.full(x.shape[1], float((~rows.counts).sum()))]))


def with_moments(of: Fits, found: Iterable[Mapping[str, Any]]) -> tuple[Fits, Any]:
    """The scale of every column; and all the moments, `[MOMENTS, 2 + features]`."""
    numpy = _library("numpy")
    parts = numpy.array([row["sums"] for row in found], dtype=numpy.float64).reshape(-1, MOMENTS, 2 + len(of.features))
    outside, counted = (int(parts[:, at, 0].sum()) for at in (7, 0))
    if outside > counted // 10:
        raise InputError(f"{outside:,} labels in `{of.label}` lie outside of 0 (B) to 1 (A), {counted:,} within\n"
                         "hint: write them as numbers from 0 to 1 first", "label")
    if outside:
        warnings.warn(f"{outside:,} labels outside of 0 (B) to 1 (A) are left out", stacklevel=4)
    if len(parts) == 0 or parts[:, 0, 0].sum() == 0:
        raise InputError(f"no row has a label in `{of.label}` that prefers A (1) or B (0)", "label")
    whole = _added(parts)
    whole[4], whole[5] = parts[:, 4].min(0), parts[:, 5].max(0)
    mean = whole[2] / whole[0]
    variance = whole[3] / whole[0] - mean * mean
    constant = (whole[4] == whole[5]) | ~(variance > 1e-26 * mean * mean)
    sd = numpy.where(constant, 1.0, numpy.sqrt(numpy.where(constant, 1.0, variance)))
    # Each label is in three clusters at most, of eight bytes a sum.
    shards = 1 + 3 * counted * len(of.features) * OF_CLUSTER * 8 // SHARD
    # A constant column is left out: it becomes zeros.
    return replace(of, mean=mean, sd=numpy.where(constant, numpy.inf, sd), beta=numpy.zeros((len(of.features), K)), shards=shards), whole


def derivatives(batch: Any, of: Fits) -> pyarrow.Table:
    """Log-likelihood, gradient and information of each fit that is not settled, `[unsettled, 1 + K + K·K]`."""
    numpy = _library("numpy")
    some = list(of.unsettled)
    found = numpy.zeros((len(some), 1 + K + K * K))
    for y, x in _blocks(of, _rows(of, batch), some):
        eta = numpy.einsum("nfk,fk->nf", x, of.beta[some])
        p = _sigmoid(eta)
        residual = y[:, None] - p
        # log σ(η) = −log(1 + e^−η), without overflow.
        found[:, 0] -= (numpy.maximum(eta, 0) - y[:, None] * eta + numpy.log1p(numpy.exp(-numpy.abs(eta)))).sum(0)
        found[:, 1:1 + K] += numpy.einsum("nf,nfk->fk", residual, x)
        weighted = x * (p * (1 - p))[:, :, None]
        found[:, 1 + K:] += numpy.matmul(weighted.transpose(1, 2, 0), x.transpose(1, 0, 2)).reshape(-1, K * K)
    return _one_row(found)


def _blocks(of: Fits, rows: _Rows, some: Sequence[int] | None = None) -> Iterator[tuple[Any, Any]]:
    """Labels and standardised columns of some features, of all where none are named, `[rows, features, K]`."""
    numpy = _library("numpy")
    chosen = numpy.arange(len(of.features)) if some is None else numpy.array(some, dtype=int)
    controlled = numpy.array(of.controlled, dtype=float)[chosen]
    step = max(1, BLOCK * 64 // max(1, len(chosen)))
    for start in range(0, len(rows.y), step):
        part = slice(start, start + step)
        lengths = (rows.lengths[part] - of.mean[:2]) / of.sd[:2]
        z = (rows.z[part][:, chosen] - of.mean[2:][chosen]) / of.sd[2:][chosen]
        x = numpy.empty((*z.shape, K))
        x[:, :, 0] = 1
        x[:, :, 1:3] = lengths[:, None, :] * controlled[None, :, None]
        x[:, :, 3] = z
        yield rows.y[part], x


def _sigmoid(eta: Any) -> Any:
    numpy = _library("numpy")
    small = numpy.exp(-numpy.abs(eta))
    return numpy.where(eta >= 0, 1 / (1 + small), small / (1 + small))


def _added(parts: Any) -> Any:
    """Σ over the first axis, rounded once: the same whatever the order of the parts."""
    numpy = _library("numpy")
    flat = parts.reshape(len(parts), -1)
    return numpy.array([math.fsum(flat[:, at]) for at in range(flat.shape[1])]).reshape(parts.shape[1:])


class Newton:
    """Newton's method for all features at once, with halved steps: each :attr:`fits` wants one pass. It ends where the
    command's does (`Design::newton`), so that the covariance is that of the same step."""

    def __init__(self, fits: Fits, whole: Any) -> None:
        numpy = _library("numpy")
        count = len(fits.features)
        self.outcome: list[str | None] = [None] * count
        # Which coefficients a fit has.
        self._free = numpy.ones((count, K), dtype=bool)
        self._free[:, 1:3] = numpy.isfinite(fits.sd[:2])[None, :] & numpy.array(fits.controlled)[:, None]
        one_class = not 0 < whole[1, 0] < whole[0, 0]
        for at in range(count):
            if not numpy.isfinite(fits.sd[2 + at]):
                self.outcome[at] = "never varies"
            elif one_class:
                self.outcome[at] = "all labels are the same"
        self._at = numpy.zeros((count, K))
        self._step = numpy.zeros((count, K))
        self._best = numpy.full(count, -numpy.inf)
        self._information = numpy.zeros((count, K, K))
        self._steps = 0
        self.fits = replace(fits, unsettled=tuple(at for at in range(count) if self.outcome[at] is None))

    @property
    def finished(self) -> bool:
        """Whether no further pass is wanted."""
        return not self.fits.unsettled

    def take(self, found: Iterable[Mapping[str, Any]]) -> None:
        """One step, from what :func:`derivatives` found in all parts at the coefficients of :attr:`fits`."""
        numpy = _library("numpy")
        some = self.fits.unsettled
        whole = _added(numpy.array([row["sums"] for row in found], dtype=numpy.float64).reshape(-1, len(some), 1 + K + K * K))
        self._steps += 1
        unsettled = tuple(at for at, sums in zip(some, whole) if self._settles_not(at, sums))
        if self._steps >= MOST_STEPS:
            for at in unsettled:
                self.outcome[at] = UNSETTLED
            unsettled = ()
        self.fits = replace(self.fits, beta=self._at + self._step, unsettled=unsettled)

    def _settles_not(self, at: int, sums: Any) -> bool:
        """One feature's step; whether another one is wanted."""
        numpy = _library("numpy")
        likelihood, gradient, information = sums[0], sums[1:1 + K], sums[1 + K:].reshape(K, K)
        if likelihood < self._best[at] - 1e-12 * abs(self._best[at]):
            self._step[at] /= 2
            if numpy.abs(self._step[at]).max() > 1e-10:
                return True
            self.outcome[at] = UNSETTLED
            return False
        self._best[at], self._information[at] = likelihood, information
        self._at[at] += self._step[at]
        free = self._free[at]
        inner = information[numpy.ix_(free, free)]
        scale = numpy.sqrt(numpy.diag(inner))
        if not (scale > 0).all() or numpy.linalg.cond(inner / scale[:, None] / scale[None, :]) > 1e12:
            # In the first step every label weighs the same.
            self.outcome[at] = "cannot be told apart from the lengths" if self._steps == 1 else UNSETTLED
            self._step[at] = 0
            return False
        step = numpy.zeros(K)
        step[free] = numpy.linalg.solve(inner, gradient[free])
        if numpy.abs(step).max() > 1e-8 * max(1.0, numpy.abs(self._at[at]).max()):
            self._step[at] = step
            return True
        # The error after this step is of the order of its square.
        self._at[at] += step
        self._step[at] = 0
        return False

    def fitted(self) -> Fits:
        """The coefficients and their covariance."""
        numpy = _library("numpy")
        covariance = numpy.zeros((len(self.outcome), K, K))
        for at, outcome in enumerate(self.outcome):
            if outcome is None:
                free = self._free[at]
                covariance[at][numpy.ix_(free, free)] = numpy.linalg.inv(self._information[at][numpy.ix_(free, free)])
        return replace(self.fits, beta=self._at, covariance=covariance)


UNSETTLED = "the fit does not settle, mostly since one side always has the same label: the command gives a bounded estimate"


# -------------------------------------------------------------------------------------------- sums over clusters


def clusters_schema() -> pyarrow.Schema:
    """Of :func:`clusters`."""
    arrow = _library("pyarrow")
    return arrow.schema([("shard", arrow.int32()), ("kind", arrow.int32()), ("key", arrow.int64()),
                         ("sums", arrow.list_(arrow.float64()))])


def clusters(batch: Any, of: Fits) -> pyarrow.Table:
    """What every cluster adds to every feature, `[features, OF_CLUSTER]`, as far as its rows are in this batch."""
    numpy = _library("numpy")
    rows = _rows(of, batch)
    parts = list(_blocks(of, rows))
    influence = numpy.concatenate([_influence(of, y, x) for y, x in parts]) if parts else None
    out: dict[str, list[Any]] = {"shard": [], "kind": [], "key": [], "sums": []}
    if influence is None:
        return _library("pyarrow").table(out, schema=clusters_schema())
    prompts, people = (numpy.asarray(batch.column(name))[rows.counts] for name in ("pair" if of.by_pair else "prompt", "person"))
    kinds = [(PROMPT, prompts)]
    if of.annotator is not None:
        kinds += [(ANNOTATOR, people), (BOTH, _numbers(f"{a} {b}" for a, b in zip(prompts, people)))]
    for kind, keys in kinds:
        own, sums = _grouped(keys, influence)
        out["shard"].extend((own % of.shards).tolist())
        out["kind"].extend([kind] * len(own))
        out["key"].extend(own.tolist())
        out["sums"].extend(sums.reshape(len(own), -1))
    return _library("pyarrow").table(out, schema=clusters_schema())


def _grouped(keys: Any, values: Any) -> tuple[Any, Any]:
    """The different keys in ascending order, and the sums of their rows."""
    numpy = _library("numpy")
    order = numpy.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    first = numpy.flatnonzero(numpy.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
    return sorted_keys[first], numpy.add.reduceat(values[order], first, axis=0)


def _influence(of: Fits, y: Any, x: Any) -> Any:
    """`[rows, features, OF_CLUSTER]`; see `Influence` in `src/effects/clusters.rs`."""
    numpy = _library("numpy")
    p = _sigmoid(numpy.einsum("nfk,fk->nf", x, of.beta))
    curvature = p * (1 - p)
    fit = numpy.einsum("nfk,fk->nf", x, of.covariance[:, K - 1])
    taken = numpy.einsum("nfi,fij->nfj", x, _lower(of.covariance))
    found = numpy.empty((*fit.shape, OF_CLUSTER))
    value, spread = (y[:, None] - p) * fit, numpy.sqrt(fit * fit * curvature)
    found[:, :, 0], found[:, :, 1], found[:, :, 2], found[:, :, 3] = value, value * value, spread * spread, spread
    found[:, :, 4:] = taken * (fit * curvature)[:, :, None]
    return found


def _lower(covariance: Any) -> Any:
    """Cholesky factors; rows and columns of zeros stay zeros."""
    numpy = _library("numpy")
    out = numpy.zeros_like(covariance)
    for at, whole in enumerate(covariance):
        free = numpy.diag(whole) > 0
        if free.any():
            out[at][numpy.ix_(free, free)] = numpy.linalg.cholesky(whole[numpy.ix_(free, free)])
    return out


def combined_schema() -> pyarrow.Schema:
    """Of :func:`combined`."""
    arrow = _library("pyarrow")
    return arrow.schema([("kind", arrow.int32()), ("clusters", arrow.int64()), ("sums", arrow.list_(arrow.float64()))])


def combined(table: Any, of: Fits) -> pyarrow.Table:
    """The clusters of a shard, whole now, as sums over them: a row for each kind."""
    numpy = _library("numpy")
    arrow = _library("pyarrow")
    kinds = numpy.asarray(table.column("kind"))
    keys = numpy.asarray(table.column("key"))
    values = numpy.asarray(_whole(table.column("sums")).flatten()).reshape(len(keys), len(of.features), OF_CLUSTER)
    rows = []
    for kind in sorted(set(kinds.tolist())):
        here = kinds == kind
        own, sums = _grouped(keys[here], values[here])
        rows.append({"kind": kind, "clusters": len(own), "sums": _over_clusters(sums).ravel().tolist()})
    return arrow.Table.from_pylist(rows, schema=combined_schema())


def _over_clusters(sums: Any) -> Any:
    """`[features, OF_KIND]` of `[clusters, features, OF_CLUSTER]`."""
    numpy = _library("numpy")
    value, squares, spread, reach = (sums[:, :, at] for at in range(4))
    hat = sums[:, :, 4:]
    there = spread > 0
    safe = numpy.where(there, spread, 1.0)
    left = 1 - numpy.minimum((hat * hat).sum(2) / safe, MOST_LEVERAGE)
    own, most, even = spread / left, reach * reach / left, 2 * left - 1
    scalars = [there.astype(float), value * value - squares, reach * reach - spread, spread, spread ** 2, spread ** 3,
               value * value / left, own * own * even, own * most * even, most * most * even, value * value / safe]
    plain = numpy.einsum("cf,cfi,cfj->fij", numpy.where(there, 1 / left, 0), hat, hat)
    shared = numpy.einsum("cf,cfi,cfj->fij", numpy.where(there, most / safe, 0), hat, hat)
    flat = [numpy.where(there, scalar, 0).sum(0)[:, None] for scalar in scalars]
    # Reach of the clusters that are there: possible + spread.
    return numpy.concatenate([*flat, plain.reshape(-1, K * K), shared.reshape(-1, K * K)], axis=1)


@dataclass(frozen=True)
class _Sandwich:
    variance: float
    df: float
    effective: float


def _sandwich(sums: Any) -> _Sandwich | None:
    present, shown, possible, spread, second_power, _, variance, aa, ab, bb, _ = sums[:11]
    if present < 2:
        return None
    plain, shared = sums[11:11 + K * K], sums[11 + K * K:]
    c = min(1.0, max(0.0, shown / possible)) if possible > 1e-9 * spread else 0.0
    first = (1 - c) * spread + c * (possible + spread)
    second = (1 - c) ** 2 * aa + 2 * c * (1 - c) * ab + c * c * bb
    mixed = (1 - c) * plain + c * shared
    second += float(mixed @ mixed)
    return _Sandwich(variance, min(max(first * first / second, 0.5), present), spread * spread / second_power)


def _tastes(sums: Any, within: float) -> tuple[float, float] | None:
    """What differing tastes add, and its degrees of freedom (`Term::tastes`)."""
    present, spread = sums[0], sums[3]
    second, third, free = sums[4] / spread ** 2, sums[5] / spread ** 3, present - 1
    left = 1 - second
    if free < 1 or within <= 0 or left <= 0:
        return None
    median = free * (1 - 2 / (9 * free)) ** 3
    tau = within * (sums[10] * spread / within - median) / left
    t = max(tau, 0.0)
    mean = t * left + within * free
    variance = t * t * (second - 2 * third + second * second) + 2 * t * within * left + within * within * free
    return tau * second, mean * mean / variance


def _error(kinds: Mapping[int, Any]) -> tuple[float, float]:
    """Variance and degrees of freedom of one feature's coefficient (`Clusters::sandwich`)."""
    base = _sandwich(kinds[PROMPT])
    if base is None:
        return math.nan, math.nan
    variance, uncertain, most = base.variance, base.variance ** 2 / base.df, math.inf
    people = _sandwich(kinds[ANNOTATOR]) if ANNOTATOR in kinds else None
    if people is not None:
        both = _sandwich(kinds[BOTH])
        within = people.variance if both is None else both.variance
        beyond = people.variance - within
        tastes = _tastes(kinds[ANNOTATOR], within) if people.effective <= FEW_PEOPLE else None
        if tastes is not None:
            beyond = max(beyond, tastes[0])
            if people.effective >= FEWEST_PEOPLE and beyond > 0:
                most = min(most, tastes[1])
        if people.effective >= FEWEST_PEOPLE and beyond > 0:
            variance += beyond
            uncertain += beyond * people.variance / people.df
    if most < math.inf:
        return variance, min(most, base.df)
    return variance, variance * variance / uncertain if uncertain > 0 else base.df


def with_clusters(of: Fits, found: Sequence[Mapping[str, Any]]) -> tuple[dict[int, Any], dict[int, int]]:
    """Sums over all clusters by kind, `[features, OF_KIND]`, and how many clusters there are."""
    numpy = _library("numpy")
    sums, count = {}, {}
    for kind in {row["kind"] for row in found}:
        rows = [row for row in found if row["kind"] == kind]
        parts = numpy.array([row["sums"] for row in rows], dtype=numpy.float64).reshape(-1, len(of.features), OF_KIND)
        sums[kind], count[kind] = _added(parts), sum(row["clusters"] for row in rows)
    # One annotator says nothing about variance.
    if count.get(ANNOTATOR, 2) < 2:
        del sums[ANNOTATOR], sums[BOTH]
    return sums, count


def table(of: Fits, newton: Newton, whole: Any, sums: Mapping[int, Any], words: Mapping[str, str]) -> Table:
    """A row for each feature."""
    rows = []
    for at, name in enumerate(of.features):
        row: dict[str, Any] = {
            "feature_id": name, "description": words[name] or None, "n": int(whole[0, 0]), "active": int(whole[6, 2 + at]),
            "beta": None, "beta_se": None, "beta_p": None, "beta_se_cluster": None, "beta_p_cluster": None, "df": None,
            "length_controlled": of.controlled[at], "note": newton.outcome[at],
        }
        if newton.outcome[at] is None:
            beta, se = float(of.beta[at, K - 1]), math.sqrt(of.covariance[at, K - 1, K - 1])
            row |= {"beta": beta, "beta_se": se, "beta_p": math.erfc(abs(beta / se) / math.sqrt(2))}
            variance, df = _error({kind: own[at] for kind, own in sums.items()})
            if variance > 1e-18 * se * se:
                error = math.sqrt(variance)
                row |= {"beta_se_cluster": error, "beta_p_cluster": student_p(beta / error, df), "df": df}
        rows.append(row)
    arrow = _library("pyarrow")
    floats = ("beta", "beta_se", "beta_p", "beta_se_cluster", "beta_p_cluster", "df")
    fields = [("feature_id", arrow.string()), ("description", arrow.string()), ("n", arrow.int64()), ("active", arrow.int64()),
              *((name, arrow.float64()) for name in floats), ("length_controlled", arrow.bool_()), ("note", arrow.string())]
    return Table(frame(arrow.Table.from_pylist(rows, schema=arrow.schema(fields))))


def student_p(t: float, df: float) -> float:
    """P(|T| ≥ |t|) under Student's t: the regularised incomplete beta function, by its continued fraction (Lentz)."""
    x, a, b = df / (df + t * t), df / 2, 0.5
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # It converges where x is below its mean; otherwise the other tail does.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    found = d
    for m in range(1, 500):
        for factor in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                       -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / (1 + factor * d or tiny)
            c = 1 + factor / c or tiny
            found *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return found


class Engine:
    """What passes over a table in parts, of which it keeps what :func:`prepared` made."""

    def rows(self, step: Any, fits: Fits) -> list[Mapping[str, Any]]:
        """The rows that `step(prepared, fits)` gives for all parts."""
        raise NotImplementedError

    def shards(self, fits: Fits) -> list[Mapping[str, Any]]:
        """The rows that :func:`combined` gives for the shards of :func:`clusters`."""
        raise NotImplementedError


def effects(engine: Engine, fits: Fits, words: Mapping[str, str]) -> Table:
    """All passes, one after the other."""
    fits, whole = with_moments(fits, engine.rows(moments, fits))
    newton = Newton(fits, whole)
    while not newton.finished:
        newton.take(engine.rows(derivatives, newton.fits))
    fits = newton.fitted()
    sums, count = with_clusters(fits, engine.shards(fits))
    # Two or three prompts say nothing about other prompts: then a pair is what labels share.
    if count.get(PROMPT, 0) < FEWEST_PROMPTS and not fits.by_pair:
        fits = replace(fits, by_pair=True)
        sums, count = with_clusters(fits, engine.shards(fits))
    return table(fits, newton, whole, sums, words)


class OneMachine(Engine):
    """A table in memory, in so many parts."""

    def __init__(self, whole: Any, fits: Fits, parts: int = 1) -> None:
        step = -(-max(1, whole.num_rows) // parts)
        self._parts = [prepared(whole.slice(start, step), fits) for start in range(0, max(1, whole.num_rows), step)]

    def rows(self, step: Any, fits: Fits) -> list[Mapping[str, Any]]:
        return [row for part in self._parts for row in step(part, fits).to_pylist()]

    def shards(self, fits: Fits) -> list[Mapping[str, Any]]:
        arrow = _library("pyarrow")
        whole = arrow.concat_tables([clusters(part, fits) for part in self._parts])
        found: list[Mapping[str, Any]] = []
        for shard in sorted(set(whole.column("shard").to_pylist())):
            found += combined(whole.filter(arrow.compute.equal(whole["shard"], shard)), fits).to_pylist()
        return found
