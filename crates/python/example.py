"""What a day with wimhf looks like; `mypy --strict` reads it.

    python crates/python/example.py dataset.parquet new.parquet
"""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path

import wimhf


def told(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}", file=sys.stderr)


def main(data: str, new: str) -> int:
    found = wimhf.inspect(data)
    print(found.read["sources"][0]["shape"])

    stop = threading.Event()
    try:
        run = wimhf.analyze(data, out=Path("runs/example"), seed=1, columns={"label": "label"}, progress=told, cancel=stop)
    except wimhf.InputError as error:
        print(error, error.field, error.hint)
        return 2

    for principle in run.principles.to_dicts():
        print(principle["rank"], principle["statement"], principle["win_delta"], principle["win_low"], principle["win_high"])
    pairs: wimhf.Table = run.evidence(1, n=3, side="against")
    columns: list[str] = pairs.columns
    print(columns, len(pairs), run.ablation["auc"], run.manifest["seed"])

    scorer: wimhf.Scorer = pickle.loads(pickle.dumps(run.scorer(explain=True)))
    scored = scorer.transform(pairs)
    print(scored.to_arrow().num_rows, scorer.problems)
    print(run.score(new, out="scored.parquet"))

    relabelled = run.relabel("1:avoid", action="drop", top=10, dry_run=True)
    constitution = run.constitution(5, objective="vote", dry_run=True)
    print(relabelled.preview, constitution.principles)
    print(run.report(), run.export("trl"), wimhf.compare(run, by="annotator_id").page)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
