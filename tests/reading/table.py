#!/usr/bin/env python3
"""Makes data/reading.csv: table.py NAME=RUN... (runs of the sets that were read, by the program as it stands)

verdicts_mend.csv: pairs read before the detectors and their words were mended; verdicts_report.csv: other pairs, read
afterwards. Both hold ids and verdicts (`read`: 1 where the reader saw it in A alone, −1 in B alone, 0 neither or both), no texts;
`draw.py` finds the texts again. Precision counts the pairs of the second half in which the program finds the concept
today (of both, where the second has fewer than ten); recall the pairs of both halves in which the reader saw it.
"""

import csv
import pathlib
import sys

import polars as pl

here = pathlib.Path(__file__).parent


def main():
    found = {}
    for spec in sys.argv[1:]:
        name, run = spec.split("=")
        table = pl.read_parquet(pathlib.Path(run) / "presence.parquet")
        found[name] = {row["pair_id"]: row for row in table.iter_rows(named=True)}
    counts = {}
    for half in ("mend", "report"):
        for row in csv.DictReader(open(here / f"verdicts_{half}.csv")):
            now = found.get(row["set"], {}).get(row["pair_id"], {}).get(row["feature"])
            if now is None or not row["feature"].startswith("known_"):
                continue
            now, read = int(now), int(row["read"])
            of = counts.setdefault(row["feature"].removeprefix("known_"), dict(mend=[], report=[], found=0, of=0))
            if now:
                of[half].append(now == read)
            if read:
                of["of"] += 1
                of["found"] += now == read
    with open(here.parent.parent / "data" / "reading.csv", "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["concept", "right", "n", "found", "of"])
        for concept in sorted(counts):
            row = counts[concept]
            # What is too rare for a second half is counted in both.
            row["read"] = row["report"] if len(row["report"]) >= 10 else row["mend"] + row["report"]
            table.writerow([concept, sum(row["read"]), len(row["read"]), row["found"], row["of"]])
    holds = [c for c, row in counts.items() if row["read"] and sum(row["read"]) >= 0.8 * len(row["read"])]
    print(len(counts), "concepts read;", len(holds), "hold:", " ".join(sorted(holds)))


main()
