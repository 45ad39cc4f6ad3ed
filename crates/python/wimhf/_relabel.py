"""Labels that go against a rule, marked in parts, as all of them together would be.

The first pass finds what each rule's strength is a share of and where the top ends; the second one changes row by row.
"""

from __future__ import annotations

import heapq
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Sequence

from wimhf import _wimhf
from wimhf._errors import InputError
from wimhf._table import _library

if TYPE_CHECKING:
    import pyarrow

ACTIONS = ("flip", "drop", "tie", "weight")
_ORIGINAL = "wimhf_original_label"
#: Score (turned around, so that the first is the highest), pair, annotator: the order of marks, ties included.
Place = tuple[float, str, str]


@dataclass(frozen=True)
class Rule:
    """A rule that is ready to use."""

    name: str
    feature: str
    clause: str
    prefer: bool
    min_strength: float
    action: str


@dataclass(frozen=True)
class Plan:
    """What every worker has to know to mark its rows as one machine would mark all of them."""

    rules: tuple[Rule, ...]
    label: str
    """The column of labels: 1 prefers A, 0 prefers B."""
    annotator: str | None
    """The column of annotators; part of the order in which equal scores stand."""
    weight: float
    """What `wimhf_weight` is where the action is `weight`."""
    min_score: float
    """Marks have at least this score, 0 to 1."""
    largest: tuple[float, ...] = ()
    """The largest activation of each rule's feature, `[rules]`: a score is a share of it."""
    labels: int = 0
    """Labels with a preference."""
    by_rule: Mapping[str, int] = field(default_factory=dict)
    """Labels that go against each rule."""
    marked: int = 0
    """Labels that are changed."""
    left_out: int = 0
    """Marked, but beyond `top`."""
    last: Place | None = None
    """The last mark of the top; `None`: all of them count."""

    @property
    def columns(self) -> list[str]:
        """The columns of a scored table that the first pass reads."""
        own = [self.label, *([self.annotator] if self.annotator else []), "wimhf_pair_id", "wimhf_note"]
        return list(dict.fromkeys([*own, *(rule.feature for rule in self.rules)]))


def plan(run: str | os.PathLike[str], rules: str | Sequence[str], *, rules_file: str | os.PathLike[str] | None = None,
         action: str = "flip", min_score: float = 0.0, weight: float = 0.0, label: str = "label",
         annotator: str | None = None) -> Plan:
    """Rules as they are understood, before any row was seen."""
    texts = [rules] if isinstance(rules, str) else list(rules)
    file = None if rules_file is None else os.fspath(rules_file)
    if not texts and file is None:
        raise InputError('nothing says which labels to change\nhint: give rules, such as ["refuses:prefer"]', "rules")
    for name, value in (("min_score", min_score), ("weight", weight)):
        if not 0.0 <= value <= 1.0:
            raise InputError(f"`{name}` is {value}, but must lie between 0 and 1", name)
    found = []
    for rule in json.loads(_wimhf.NativeRun.open(os.fspath(run)).rules(texts, file)):
        if rule.pop("reads_prompts"):
            raise InputError(
                f"the rule `{rule['name']}` reads prompts, which is not done in parts\n"
                "hint: choose the rows by their prompts first, or relabel on one machine",
                "rules_file",
            )
        if rule.pop("reads_responses"):
            raise InputError(
                f"the rule `{rule['name']}` is about words that stand in a response, which is not read in parts\n"
                "hint: relabel on one machine",
                "rules",
            )
        rule["action"] = rule["action"] or action
        if rule["action"] not in ACTIONS:
            raise InputError(f"`action` cannot be {rule['action']!r}\nhint: {', '.join(ACTIONS)}", "action")
        found.append(Rule(**rule))
    return Plan(tuple(found), label, annotator, weight, min_score)


def check(of: Plan, names: Iterable[str]) -> None:
    """Refuses a table that was not scored, or was relabelled before."""
    there = set(names)
    missing = [name for name in of.columns if name not in there]
    if missing:
        raise InputError(
            f"the table has no column `{missing[0]}`\nhint: score it first, with features; name `label` and `annotator`",
            "label" if missing[0] == of.label else None,
        )
    if _ORIGINAL in there:
        raise InputError(f"the table already has a column `{_ORIGINAL}`: it was relabelled before")


def counted_schema() -> pyarrow.Schema:
    """Of :func:`counted`."""
    arrow = _library("pyarrow")
    return arrow.schema([("labels", arrow.int64()), ("largest", arrow.list_(arrow.float32()))])


def counted(of: Plan, batch: Any) -> pyarrow.Table:
    """One row: labels with a preference, and each feature's largest activation among them."""
    numpy = _library("numpy")
    label, judged = _judged(of, batch)
    found = []
    for rule in of.rules:
        z = numpy.abs(_floats(batch, rule.feature)[judged])
        found.append(float(numpy.nanmax(z, initial=0.0)))
    return _library("pyarrow").Table.from_pylist([{"labels": int(judged.sum()), "largest": found}], schema=counted_schema())


def counted_batch(batch: Any, of: Plan) -> pyarrow.Table:
    """:func:`counted`, as `map_batches` calls it."""
    return counted(of, batch)


def with_counts(of: Plan, rows: Iterable[Mapping[str, Any]]) -> Plan:
    """The plan, with what :func:`counted` found in all parts."""
    largest, labels = [0.0] * len(of.rules), 0
    for row in rows:
        labels += row["labels"]
        largest = [max(pair) for pair in zip(largest, row["largest"])]
    if labels == 0:
        raise InputError(f"no row has a label in `{of.label}` that prefers A (1) or B (0)", "label")
    return replace(of, largest=tuple(largest), labels=labels)


def topped_schema() -> pyarrow.Schema:
    """Of :func:`topped`."""
    arrow = _library("pyarrow")
    return arrow.schema([
        ("score", arrow.float64()), ("pair", arrow.string()), ("annotator", arrow.string()),
        ("marked", arrow.int64()), ("by_rule", arrow.list_(arrow.int64())),
    ])


def topped(of: Plan, batch: Any, top: int | None) -> pyarrow.Table:
    """The first marks of a part, a row each, and a row that counts."""
    marks = _Marks(of, batch)
    rows: list[dict[str, Any]] = [{"marked": len(marks.rows), "by_rule": [int(against.sum()) for against in marks.against]}]
    if top is not None:
        places = heapq.nsmallest(top, (marks.place(row) for row in marks.rows))
        rows.extend({"score": -score, "pair": pair, "annotator": annotator} for score, pair, annotator in places)
    return _library("pyarrow").Table.from_pylist(rows, schema=topped_schema())


def topped_batch(batch: Any, of: Plan, top: int | None) -> pyarrow.Table:
    """:func:`topped`, as `map_batches` calls it."""
    return topped(of, batch, top)


def with_top(of: Plan, rows: Iterable[Mapping[str, Any]], top: int | None) -> Plan:
    """The plan, with what :func:`topped` found in all parts."""
    counts, *marks = _joined(of, rows, top)
    by_rule: dict[str, int] = {}
    for rule, count in zip(of.rules, counts["by_rule"]):
        if count:
            by_rule[rule.name] = by_rule.get(rule.name, 0) + count
    marked = counts["marked"] if top is None else len(marks)
    last = None
    if top is not None:
        # Before every place, where none is kept.
        last = _place(marks[-1]) if marks else (float("-inf"), "", "")
    return replace(of, by_rule=by_rule, marked=marked, left_out=counts["marked"] - marked, last=last)


def parts(of: Plan, batches: Iterable[Any], top: int | None) -> pyarrow.Table:
    """:func:`topped` over the batches of a partition, as one part."""
    found: list[Mapping[str, Any]] = []
    for batch in batches:
        found = _joined(of, [*found, *topped(of, batch, top).to_pylist()], top)
    return _library("pyarrow").Table.from_pylist(found, schema=topped_schema())


def _joined(of: Plan, rows: Iterable[Mapping[str, Any]], top: int | None) -> list[Mapping[str, Any]]:
    """The rows of several parts as those of one: its counts, then its first marks in order."""
    counts: list[Mapping[str, Any]] = []
    marks: list[Mapping[str, Any]] = []
    for row in rows:
        (counts if row["score"] is None else marks).append(row)
    by_rule = [sum(row["by_rule"][at] for row in counts) for at in range(len(of.rules))]
    first = heapq.nsmallest(top or 0, marks, key=_place)
    return [{"score": None, "marked": sum(row["marked"] for row in counts), "by_rule": by_rule}, *first]


def _place(row: Mapping[str, Any]) -> Place:
    return -row["score"], row["pair"], row["annotator"]


def changed(of: Plan, batch: Any) -> pyarrow.Table:
    """The rows of a batch with their labels after the rules, those that are dropped left out, and
    `wimhf_original_label`, `wimhf_action`, `wimhf_rule`, `wimhf_score` (and `wimhf_weight`) beside them."""
    arrow = _library("pyarrow")
    check(of, batch.schema.names)
    marks = _Marks(of, batch)
    rows = batch.num_rows
    actions, rules = ["keep"] * rows, [""] * rows
    scores, weights, kept = [0.0] * rows, [1.0] * rows, [True] * rows
    kind = batch.schema.field(of.label).type
    labels = batch.column(of.label).to_pylist()
    for row in marks.rows:
        if of.last is not None and marks.place(row) > of.last:
            continue
        hit = [rule for rule, against in zip(of.rules, marks.against) if against[row]]
        action = hit[0].action
        side = {True: "the response that lost", False: "the response that won"}
        reason = "; ".join(f"{side[rule.prefer]} {rule.clause}" for rule in hit)
        actions[row], scores[row] = action, float(marks.score[row])
        rules[row] = f"{', '.join(rule.name for rule in hit)}: {reason}"
        kept[row] = action != "drop"
        if action == "flip":
            labels[row] = 1 - labels[row]
        elif action == "tie":
            # Among whole numbers a tie is a missing label.
            labels[row] = None if arrow.types.is_integer(kind) else 0.5
        elif action == "weight":
            weights[row] = of.weight
    table = arrow.table(list(batch.columns), schema=batch.schema)
    original = table.column(of.label)
    table = table.set_column(table.schema.get_field_index(of.label), arrow.field(of.label, kind), arrow.array(labels, kind))
    table = table.append_column(_ORIGINAL, original)
    table = table.append_column("wimhf_action", arrow.array(actions, arrow.string()))
    table = table.append_column("wimhf_rule", arrow.array(rules, arrow.string()))
    table = table.append_column("wimhf_score", arrow.array(scores, arrow.float64()))
    if any(rule.action == "weight" for rule in of.rules):
        table = table.append_column("wimhf_weight", arrow.array(weights, arrow.float64()))
    return table.filter(arrow.array(kept, arrow.bool_())).combine_chunks()


class _Marks:
    """The labels of a batch that go against a rule; a rule that speaks for a label more strongly takes a mark away."""

    def __init__(self, of: Plan, batch: Any) -> None:
        numpy = _library("numpy")
        label, judged = _judged(of, batch)
        won = label > 0.5
        balance, self.score = numpy.zeros(len(label)), numpy.zeros(len(label))
        self.against: list[Any] = []
        for rule, largest in zip(of.rules, of.largest):
            z = _floats(batch, rule.feature)
            # In 32 bits and only then in 64, as the command does it.
            strength = (numpy.abs(z) / numpy.float32(largest or 1.0)).astype(numpy.float64)
            hit = judged & (numpy.abs(z) > 0) & (strength >= rule.min_strength)
            obeyed = ((z > 0) == won) == rule.prefer
            balance += numpy.where(hit, numpy.where(obeyed, -strength, strength), 0.0)
            against = hit & ~obeyed
            self.score = numpy.maximum(self.score, numpy.where(against, strength, 0.0))
            self.against.append(against)
        marked = numpy.any(self.against, axis=0) & (balance > 0) & (self.score >= of.min_score)
        self.rows: list[int] = numpy.flatnonzero(marked).tolist()
        self._pairs = batch.column("wimhf_pair_id")
        self._annotators = batch.column(of.annotator) if of.annotator else None

    def place(self, row: int) -> Place:
        """Where the mark of a row stands in the order of all."""
        annotator = self._annotators[row].as_py() if self._annotators is not None else None
        return -float(self.score[row]), self._pairs[row].as_py(), "" if annotator is None else str(annotator)


def _judged(of: Plan, batch: Any) -> tuple[Any, Any]:
    """Labels as numbers, and which of them prefer a side; rows that could not be scored have no say."""
    arrow, numpy = _library("pyarrow"), _library("numpy")
    column = batch.column(of.label)
    if not (arrow.types.is_floating(column.type) or arrow.types.is_integer(column.type)):
        raise InputError(
            f"the labels in `{of.label}` are {column.type}, not numbers from 0 (B) to 1 (A)\n"
            "hint: make a column of numbers of them, or relabel on one machine",
            "label",
        )
    label = _numbers(column, numpy.float64)
    scored = numpy.asarray(batch.column("wimhf_note").is_null().to_pylist(), dtype=bool)
    return label, scored & (label >= 0) & (label <= 1) & (label != 0.5)


def _floats(batch: Any, name: str) -> Any:
    """Activations as 32-bit floats; NaN where there is none."""
    return _numbers(batch.column(name), _library("numpy").float32)


def _numbers(column: Any, kind: Any) -> Any:
    """A column as an array; NaN where it is null."""
    arrow, numpy = _library("pyarrow"), _library("numpy")
    column = column.cast(arrow.from_numpy_dtype(kind))
    values = column.to_numpy() if isinstance(column, arrow.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return numpy.asarray(values, dtype=kind)
