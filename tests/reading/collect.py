#!/usr/bin/env python3
"""Puts the readers' answers beside what the program found: collect.py OUT [--csv verdicts.csv]

Prints for each feature how many of the pairs in which it fired the reader called right, wrong, or neither, and how many of
the pairs in which the reader saw it the program found. The CSV holds ids and verdicts, no texts.
"""

import argparse
import pathlib

import polars as pl


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path)
    options = parser.parse_args()
    key = pl.read_parquet(options.out / "key.parquet")
    letters = {}
    for path in sorted(options.out.glob("answers_*.txt")):
        for line in path.read_text().splitlines():
            parts = line.replace(",", "").split(None, 1)
            if len(parts) == 2 and parts[0].isdigit():
                letters[int(parts[0])] = parts[1].replace(" ", "").upper()
    rows = []
    for row in key.iter_rows(named=True):
        answers = letters.get(row["number"], "")
        if row["at"] < len(answers) and answers[row["at"]] in "ABN":
            rows.append({**row, "read": {"A": 1, "B": -1, "N": 0}[answers[row["at"]]]})
    read = pl.DataFrame(rows)
    print(f"{read.height} of {key.height} answered")
    table = read.group_by("feature", "description").agg(
        ((pl.col("found") != 0) & (pl.col("read") == pl.col("found"))).sum().alias("right"),
        ((pl.col("found") != 0) & (pl.col("read") == -pl.col("found"))).sum().alias("wrong"),
        ((pl.col("found") != 0) & (pl.col("read") == 0)).sum().alias("neither"),
        ((pl.col("found") == 0) & (pl.col("read") != 0)).sum().alias("missed"),
        ((pl.col("found") == 0) & (pl.col("read") == 0)).sum().alias("silent"),
    ).with_columns((pl.col("right") / (pl.col("right") + pl.col("wrong") + pl.col("neither"))).alias("precision"))
    pl.Config.set_tbl_rows(500)
    pl.Config.set_fmt_str_lengths(60)
    print(table.sort("precision"))
    sums = table.select("right", "wrong", "neither", "missed", "silent").sum()
    print(sums)
    if options.csv:
        read.select("set", "pair_id", "feature", "found", "read").sort("feature", "set", "pair_id").write_csv(options.csv)


main()
