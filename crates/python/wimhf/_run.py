"""A finished run and everything that builds on one."""

from __future__ import annotations

import json
import os
import webbrowser
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Literal, Mapping

from wimhf import _wimhf
from wimhf._errors import InputError, RunError
from wimhf._progress import Event, Watcher
from wimhf._table import Table, _library, frame, html_table

if TYPE_CHECKING:
    import numpy

    from wimhf._plot import Plots

StrPath = "str | os.PathLike[str]"


def packed(**options: Any) -> str:
    """Options as the native module reads them; `None` is the default."""

    def plain(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if hasattr(value, "item") and callable(value.item):
            return value.item()
        raise InputError(f"an option cannot be of type {type(value).__name__}: {value!r}")

    return json.dumps({name: value for name, value in options.items() if value is not None}, default=plain)


def _names(value: str | Iterable[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _paths(value: Iterable[str] | None) -> list[Path]:
    return [Path(file) for file in value or []]


@dataclass(frozen=True)
class Relabelled:
    """What relabelling found, and where it went."""

    decisions: Mapping[str, Any]
    """Every marked label with its reason and score, and what was looked at besides."""
    preview: Mapping[str, Any]
    """What changing them does to the principles."""
    files: list[Path]
    """The dataset as it was written; empty in a dry run."""
    rows: int | None
    """Rows in these files."""
    trl: Path | None
    """The trainers' file."""
    review: list[Path] = field(default_factory=list)
    """The table and the page on which a person decides; empty where something was changed."""
    evaluation: Any = field(default=None, repr=False)
    """Reward probes before and after."""
    cost: list[Any] = field(default_factory=list, repr=False)
    """What asking the judge would cost, in a dry run."""


@dataclass(frozen=True)
class Personalized:
    """What differs between annotators, and weights of their own."""

    found: Mapping[str, Any]
    """`personalize.json`."""
    files: list[Path]
    """What was written."""


@dataclass(frozen=True)
class Constitution:
    """The few principles from which most of the labels can be told."""

    found: Mapping[str, Any]
    """The record with all its figures."""
    files: list[Path]
    """What was written."""
    cost: list[Any] = field(default_factory=list, repr=False)
    """What asking the model would cost, in a dry run."""

    @property
    def principles(self) -> list[str]:
        """The list, most important first."""
        return [str(principle["statement"]) for principle in self.found["principles"]]


@dataclass(frozen=True)
class Audit:
    """Two judges on the same pairs."""

    found: Mapping[str, Any]
    """`audit.json`: agreement, and every feature with both judges."""
    files: list[Path]
    """What was written."""

    @property
    def features(self) -> list[dict[str, Any]]:
        """A feature each, the surest difference first: `difference`, `judge`, `reference` with `value`, `low`, `high`."""
        return list(self.found["features"])


@dataclass(frozen=True)
class Contexts:
    """Where it holds: each feature in each kind of request."""

    found: Mapping[str, Any]
    """`contexts.json`: the kinds of request, and every feature in each."""
    files: list[Path]
    """What was written."""

    @property
    def claims(self) -> list[dict[str, Any]]:
        """What depends on the request beyond chance: `statement`, `inside` and `outside` with `value`, `low`, `high`, `n`."""
        return [row for row in self.found["rows"] if row["kind"] is not None]


@dataclass(frozen=True)
class Reasons:
    """Do they do what they say? Reasons that people wrote, beside their labels."""

    found: Mapping[str, Any]
    """`reasons.json`: what is stated and what is done, coverage and redundancy, and what no feature covers."""
    files: list[Path]
    """What was written."""

    @property
    def features(self) -> list[dict[str, Any]]:
        """A feature each, the most named first: `followed`, `is_true`, `named` with `value`, `low`, `high`, `n`."""
        return list(self.found["features"])

    @property
    def never_stated(self) -> list[dict[str, Any]]:
        """Features that the labels follow and the reasons hardly ever name."""
        return [row for row in self.found["features"] if row["never_stated"]]


@dataclass(frozen=True)
class Models:
    """Which models win, and why."""

    found: Mapping[str, Any]
    """`models.json`: ratings, what length and format are worth, what each model does more of."""
    files: list[Path]
    """What was written."""

    @property
    def ratings(self) -> list[dict[str, Any]]:
        """A model each, the best first: `rating`, `rating_style`, `rating_all` with `value`, `low`, `high`, and `traits`."""
        return list(self.found["models"])


@dataclass(frozen=True)
class Judgement:
    """Concepts of one's own, as language models read them."""

    found: Mapping[str, Any]

    @property
    def concepts(self) -> list[dict[str, Any]]:
        """A concept each: prevalence, effect on the label, agreement."""
        return list(self.found["concepts"])


class Scorer:
    """A run ready to score, opened once. Pickles by the run's path, for workers of other processes."""

    def __init__(self, run: str | os.PathLike[str], *, explain: bool = False, features: bool = True,
                 annotator: str | None = None, device: str = "auto", **columns: Any) -> None:
        self._path = os.path.abspath(run)
        self._options = packed(explain=explain, features=features, annotator=annotator, device=device, **columns)
        self._native = _wimhf.NativeRun.open(self._path).scorer(self._options)
        self.problems: dict[str, int] = {}
        """Rows of the last table that could not be scored, by reason."""

    def transform(self, batch: Any) -> Table:
        """The rows of a table with what was found about them: columns `wimhf_p_a`, `wimhf_log_odds`, … and activations.

        A row's figures do not depend on the rows that it comes with.
        """
        scored, summary = self._native.transform(None, frame(batch))
        self.problems = json.loads(summary)["problems"]
        return Table(scored)

    def __call__(self, batch: Any) -> Table:
        return self.transform(batch)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_scorer, (self._path, self._options))

    def __repr__(self) -> str:
        return f"Scorer({self._path!r})"


def _scorer(path: str, options: str) -> Scorer:
    return Scorer(path, **json.loads(options))


class Run:
    """A finished run. Open one with :func:`wimhf.open`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._native = _wimhf.NativeRun.open(os.fspath(path))

    @property
    def path(self) -> Path:
        """The run directory."""
        return Path(self._native.path)

    @property
    def manifest(self) -> dict[str, Any]:
        """`run.json`: data, settings, metrics, notes."""
        return dict(json.loads(self._native.manifest()))

    @property
    def findings(self) -> dict[str, Any]:
        """`principles.json`: principles, what was not confirmed, what makes no difference, what nothing explains."""
        return dict(json.loads(self._native.findings()))

    @property
    def principles(self) -> Table:
        """The principles, strongest first: statement, `win_delta` (difference in win rate, on labels that took no
        part in choosing it) with its 95 % interval, p-values, prevalence, n, evidence."""
        return Table(self._native.table("principles"))

    @property
    def features(self) -> Table:
        """Every feature with its words, fidelity and effect, `[features]` rows."""
        return Table(self._native.table("features"))

    @property
    def effects(self) -> Table:
        """Every feature's effect on labels that took no part in finding it, `[features]` rows; nulls with the reason in `missing`."""
        return Table(self._native.table("effects"))

    @property
    def pairs(self) -> Table:
        """Every judgement: pair, row of the source, side of the split, label (1 prefers A), annotator."""
        return Table(self._native.table("pairs"))

    @property
    def activations(self) -> Table:
        """`pair_id` and a column for each feature, `[pairs]` rows; above 0 is more in A."""
        return Table(self._native.table("activations"))

    @property
    def presence(self) -> Table:
        """The same with −1, 0 or +1: clearly present in A alone, in neither or both, in B alone; votes and win rates go
        by it."""
        return Table(self._native.table("presence"))

    @property
    def ablation(self) -> dict[str, Any]:
        """How well sets of features tell held-out labels: AUC by rung, with 95 % intervals."""
        return dict(json.loads(self._native.ablation()))

    @property
    def sae(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """The autoencoder's arrays by name: encoder and decoder `[features, dimensions]`; those of the one over sentences
        under `sentences/`."""
        arrays = _arrays(self.path / "sae.safetensors")
        sentences = self.path / "sentences.safetensors"
        if sentences.exists():
            arrays.update({f"sentences/{name}": array for name, array in _arrays(sentences).items()})
        return arrays

    def evidence(self, feature: str | int, n: int = 10, side: Literal["for", "against", "both"] = "both") -> Table:
        """Held-out pairs whose labels speak for a feature or principle (a rank, an id, a label) and against it.

        At most ``n`` of each, the clearest first.
        """
        if side not in ("for", "against", "both"):
            raise InputError(f"`side` cannot be {side!r}\nhint: for, against or both", "side")
        if not isinstance(n, int) or n < 0:
            raise InputError(f"`n` cannot be {n!r}\nhint: a number of pairs", "n")
        return Table(self._native.evidence(str(feature), n, side))

    def score(self, new: Any, *, out: str | os.PathLike[str] | None = None, explain: bool = False,
              features: bool = True, annotator: str | None = None, device: str = "auto",
              force: bool = False, progress: Any = False, cancel: Event | None = None,
              **columns: Any) -> Table | Path:
        """Scores new pairs or responses: columns are added to what comes in.

        A table gives a :class:`Table`; a file is scored batch by batch into ``out`` (`RUN/score/NAME` where none is
        named), whose path is returned. ``columns`` are `prompt_column`, `response_a_column`, `response_b_column`,
        `embedding_columns` where they are not recognised; ``force`` replaces a file of another kind.
        """
        options = packed(explain=explain, features=features, annotator=annotator, device=device, **columns)
        watcher = Watcher(progress, cancel)
        try:
            if isinstance(new, (str, os.PathLike)):
                to = None if out is None else os.fspath(out)
                options = packed(**json.loads(options), force=force)
                return Path(json.loads(self._native.score_file(watcher, os.fspath(new), to, options))["out"])
            if out is not None:
                raise InputError("`out` goes with a file\nhint: write the returned table, as in `.to_pandas().to_parquet(…)`", "out")
            scored, _ = self._native.scorer(options).transform(watcher, frame(new))
            return Table(scored)
        finally:
            watcher.close()

    def scorer(self, *, explain: bool = False, features: bool = True, annotator: str | None = None,
               device: str = "auto", **columns: Any) -> Scorer:
        """The run ready to score, for many tables or for workers."""
        return Scorer(self.path, explain=explain, features=features, annotator=annotator, device=device, **columns)

    def relabel(self, rules: str | Iterable[str] = (), *, data: str | os.PathLike[str] | None = None,
                rules_file: str | os.PathLike[str] | None = None,
                safety: bool = False, action: Literal["flip", "drop", "tie", "weight"] | None = None,
                decisions: str | os.PathLike[str] | None = None,
                top: int | None = None, min_score: float | None = None, weight: float = 0.0,
                out: str | os.PathLike[str] | None = None, trl: str | os.PathLike[str] | None = None,
                dry_run: bool = False, evaluate: Iterable[str] | None = None,
                cues: str | os.PathLike[str] | None = None, judge: Mapping[str, Any] | None = None, force: bool = False,
                progress: Any = False, cancel: Event | None = None) -> Relabelled:
        """Marks labels that go against a rule (`"flattery:avoid"`), with a reason each, and writes the changed dataset.

        Without an ``action`` nothing is changed: the marks are laid before a person (``.review``), whose table then comes
        back as ``decisions``. Rules of one's own flip where ``out`` or ``trl`` is given.
        ``data`` names other pairs whose labels are changed by the run's features; they go to ``out``.
        ``judge`` names a language model that has to confirm: `{"model": …, "base_url": …, "max_cost": …}`.
        """
        done = self._do(
            self._native.relabel, progress, cancel,
            data=None if data is None else os.fspath(data), rules=_names(rules), rules_file=rules_file, safety=safety,
            action=action, decisions=decisions, top=top, min_score=min_score,
            weight=weight, out=out, trl=trl, dry_run=dry_run, cues=cues, judge=dict(judge or {}), force=force,
            evaluate=None if evaluate is None else _names(evaluate),
        )
        return Relabelled(
            decisions=done["decisions"], preview=done["preview"], files=_paths(done["files"]), rows=done["rows"],
            trl=Path(done["trl"][0]) if done["trl"] else None, review=_paths(done["review"]), evaluation=done["evaluation"], cost=done["cost"],
        )

    def personalize(self, *, by: str | None = None, features: str | Iterable[str] = (), min_pairs: int = 8,
                    groups: str | Iterable[str] = (), evaluate: bool = True, dry_run: bool = False,
                    out: str | os.PathLike[str] | None = None, force: bool = False, progress: Any = False,
                    cancel: Event | None = None) -> Personalized:
        """What differs between annotators, and weights of their own."""
        done = self._do(
            self._native.personalize, progress, cancel, by=by, features=_names(features), min_pairs=min_pairs,
            groups=_names(groups), evaluate=evaluate, dry_run=dry_run, out=out, force=force,
        )
        return Personalized(found=done["found"], files=_paths(done["files"]))

    def constitution(self, principles: int | None = None, *, objective: Literal["linear", "vote"] = "linear",
                     edits: str | os.PathLike[str] | None = None, dry_run: bool = False,
                     out: str | os.PathLike[str] | None = None, model: Mapping[str, Any] | None = None,
                     icai: bool = False, pairs: int = 300, pairs_per_call: int = 5, progress: Any = False,
                     cancel: Event | None = None) -> Constitution:
        """The few principles from which most of the labels can be told, measured on labels that took no part in choosing them."""
        done = self._do(
            self._native.constitution, progress, cancel, principles=principles, objective=objective, edits=edits,
            dry_run=dry_run, out=out, model=dict(model or {}), icai=icai, pairs=pairs, pairs_per_call=pairs_per_call,
        )
        return Constitution(found=done["found"], files=_paths(done["files"]), cost=done["cost"])

    def audit(self, judge_column: str | None = None, *, judge_scores: tuple[str, str] | None = None,
              judge_data: str | os.PathLike[str] | None = None, label_map: Mapping[str, str] | None = None,
              label_scale: tuple[float, float] | None = None, against: str | None = None,
              out: str | os.PathLike[str] | None = None, force: bool = False, progress: Any = False,
              cancel: Event | None = None) -> Audit:
        """Which features one judge rewards more than another on the same pairs, and how far the run's annotators agree.

        The judge is a label column, two columns of scores, or another dataset with the same pairs. ``label_map`` says
        what the values of its column mean (`{"good": "A", "bad": "B", "even": "tie"}`), ``label_scale`` the two ends of its
        scale, the one for A first. Without a judge it is about the annotators alone (``found["annotators"]``: Krippendorff's
        α, overall and by feature).
        """
        done = self._do(self._native.audit, progress, cancel, judge_column=judge_column,
                        judge_scores=list(judge_scores) if judge_scores else None,
                        judge_data=None if judge_data is None else os.fspath(judge_data), against=against, out=out,
                        label_map=None if label_map is None else [[value, said.lower()] for value, said in label_map.items()],
                        label_scale=None if label_scale is None else {"first": label_scale[0], "second": label_scale[1]},
                        force=force)
        return Audit(found=done["found"], files=_paths(done["files"]))

    def contexts(self, columns: Iterable[str] = (), *, out: str | os.PathLike[str] | None = None, force: bool = False,
                 progress: Any = False, cancel: Event | None = None) -> Contexts:
        """Which features are rewarded in some kinds of request and not in others.

        ``columns`` of the run's dataset are contexts, too: each of their common values is one.
        """
        done = self._do(self._native.contexts, progress, cancel, columns=list(columns), out=out, force=force)
        return Contexts(found=done["found"], files=_paths(done["files"]))

    def reasons(self, reason_columns: str | Iterable[str] = (), *, critique_columns: tuple[str, str] | None = None,
                out: str | os.PathLike[str] | None = None, force: bool = False, progress: Any = False,
                cancel: Event | None = None) -> Reasons:
        """Whether people do what they say: their own words about the pairs, beside their labels and the run's features.

        ``reason_columns`` of the run's dataset hold texts about a pair, ``critique_columns`` a text about the first and
        one about the second response of a row. English is read, without a model.
        """
        done = self._do(self._native.reasons, progress, cancel, reason_columns=_names(reason_columns),
                        critique_columns=list(critique_columns) if critique_columns else None, out=out, force=force)
        return Reasons(found=done["found"], files=_paths(done["files"]))

    def models(self, columns: tuple[str, str] | None = None, *, out: str | os.PathLike[str] | None = None,
               force: bool = False, progress: Any = False, cancel: Event | None = None) -> Models:
        """Bradley–Terry ratings of the models, by the labels alone and with style or everything held fixed.

        ``columns`` name the model of the first and of the second response; `model_a`, `model_b` and the like are found.
        """
        done = self._do(self._native.models, progress, cancel, columns=list(columns) if columns else None, out=out,
                        force=force)
        return Models(found=done["found"], files=_paths(done["files"]))

    def judge(self, concepts: str | Iterable[str], *, judge: Mapping[str, Any] | None = None, pairs: int = 300,
              pairs_per_call: int = 5, second_judge: str | None = None, dry_run: bool = False,
              progress: Any = False, cancel: Event | None = None) -> Judgement:
        """Concepts of one's own, completing "The response …", read by a language model in held-out pairs."""
        return Judgement(self._do(
            self._native.judge, progress, cancel, concepts=_names(concepts), judge=dict(judge or {}), pairs=pairs,
            pairs_per_call=pairs_per_call, second_judge=second_judge, dry_run=dry_run,
        ))

    def report(self, open: bool = False, *, anonymise: bool = False,
               out: str | os.PathLike[str] | None = None, force: bool = False) -> Path:
        """Writes the page again, or without what is personal; where it is."""
        path = Path(self._native.report(packed(anonymise=anonymise, out=out, force=force)))
        if open:
            webbrowser.open(path.resolve().as_uri())
        return path

    def export(self, format: Literal["annotated-pairs", "trl", "icai", "csv"], *,
               out: str | os.PathLike[str] | None = None, held_out: bool | None = None, force: bool = False) -> Path:
        """Writes the pairs for Feedback Forensics, trainers, ICAI or a spreadsheet; where they are."""
        return Path(self._native.export(packed(format=format, out=out, held_out=held_out, force=force)))

    @property
    def plot(self) -> Plots:
        """Charts, by altair (`pip install wimhf[plot]`)."""
        from wimhf._plot import Plots

        return Plots(self)

    def _do(self, verb: Any, progress: Any, cancel: Event | None, **options: Any) -> dict[str, Any]:
        watcher = Watcher(progress, cancel)
        try:
            return dict(json.loads(verb(watcher, packed(**options))))
        finally:
            watcher.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Run, (os.path.abspath(self.path),))

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"Run({str(self.path)!r}: {manifest['dataset']['pairs_unique']:,} pairs, "
            f"{manifest['metrics']['principles']} principles)"
        )

    def _repr_html_(self) -> str:
        manifest = self.manifest
        metrics = manifest["metrics"]
        rows = [
            {
                "#": principle["rank"],
                "principle": principle["statement"],
                "win rate": f"{100 * principle['win_delta']:+.0f} "
                f"[{100 * principle['win_low']:+.0f}, {100 * principle['win_high']:+.0f}] points",
                "pairs": f"{100 * principle['prevalence']:.0f} %",
                "n": f"{principle['n']:,}",
            }
            for principle in self.findings["principles"]
        ]
        caption = (
            f"{self.path}: {manifest['dataset']['pairs_unique']:,} pairs, {metrics.get('judgements') or metrics['judgements_held_out']:,} labels; "
            "differences in win rate with 95 % intervals, associations in these labels"
        )
        return html_table(rows, ["#", "principle", "win rate", "pairs", "n"], caption)


def _arrays(path: Path) -> dict[str, numpy.ndarray[Any, Any]]:
    """The arrays of a safetensors file: a header in JSON behind its length, then the values."""
    numpy = _library("numpy")
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        return {
            name: numpy.frombuffer(content, kinds[entry["dtype"]], int(numpy.prod(entry["shape"], dtype="i8")),
                                   8 + length + entry["data_offsets"][0]).reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"cannot read `{path}`: {error}\nhint: the run is damaged; analyze the data again") from None
