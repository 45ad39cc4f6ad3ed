"""Loads each run's annotated_pairs.json in Feedback Forensics and compares its figures with ours.

    python feedback_forensics_reads.py RUN...

Prints one line per run; fails on the first figure that differs by more than 1e-9.
"""

import json
import os
import sys
from pathlib import Path

# All of its metrics, not only those that it shows by itself.
METRICS = ["strength", "strength_with_stats", "relevance", "cohens_kappa", "acc", "agreed", "disagreed", "not_applicable"]
os.environ["FF_AVAIL_METRICS"] = json.dumps(METRICS)

import feedback_forensics  # noqa: E402
import pandas as pd  # noqa: E402

TOLERANCE = 1e-9


def number(value):
    return value["strength"] if isinstance(value, dict) else value


def check(run: Path) -> str:
    path = run / "annotated_pairs.json"
    content = json.loads(path.read_text("utf-8"))
    assert next(iter(content)) == "metadata", "the metadata stand first"
    principles = json.loads((run / "principles.json").read_text("utf-8"))["principles"]
    handler = feedback_forensics.DatasetHandler()
    handler.add_data_from_path(path)
    (overall,) = handler.get_overall_metrics().values()
    decided = [c for c in content["comparisons"] if c["annotations"]["ba751e7b"]["pref"] is not None]
    assert overall["Number of preference pairs"] == len(decided), overall
    if not decided:
        assert not principles
        return f"{run.name}: 0 labels, loaded"
    (metrics,) = handler.get_annotator_metrics().values()
    assert metrics["num_pairs"] == len(decided)
    annotators = [a for a in content["annotators"].values() if a["type"] == "principle"]
    assert len(annotators) == len(principles), "an annotator for every principle"
    ours = {"relevance": "relevance", "acc": "accuracy", "cohens_kappa": "kappa", "strength": "strength"}
    counts = {"agreed": "agree", "disagreed": "disagree", "not_applicable": "other"}
    worst = 0.0
    for principle, annotator in zip(principles, annotators):
        name = annotator["description"].replace("Select the response that", "").strip(" .")
        for theirs, own in (ours | counts).items():
            found = number(metrics["metrics"][theirs][name])
            difference = abs(float(found) - float(principle[own]))
            assert difference <= TOLERANCE, f"{run.name}: {name}: {theirs} {found}, ours {principle[own]}"
            worst = max(worst, difference)
    # Its table is what its users see.
    if principles:
        table = handler.get_annotator_metrics_df("strength", index_col_name="Annotator")
        assert isinstance(table, pd.DataFrame) and len(table) == len(principles)
    return f"{run.name}: {len(decided)} labels, {len(principles)} principles, figures equal to {worst:.1e}"


if __name__ == "__main__":
    for run in sys.argv[1:]:
        print(check(Path(run)), flush=True)
