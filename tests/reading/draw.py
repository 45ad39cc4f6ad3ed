#!/usr/bin/env python3
"""Draws what readers read: pairs, each with descriptions that may be true of one of its responses.

    draw.py OUT NAME=RUN=DATASET... [--fired 26] [--silent 16] [--readers 6] [--seed 1] [--sources known]

For every feature that has words, pairs in which the program finds it in one response alone (`fired`) and pairs in which it
finds it in neither or both although their words are like those of the former (`silent`; a logistic regression on TF-IDF
differences says so). OUT/batch_N.md is what reader N sees; OUT/key.parquet says what the program found, and no reader
sees it. Readers answer in OUT/answers_N.txt, a line for each pair: its number and a letter (A, B or N) for each description.
Needs polars and scikit-learn.
"""

import argparse
import pathlib
import random

import numpy as np
import polars as pl
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

LONGEST, PROMPT, QUESTIONS = 1600, 700, 12

HEAD = """For every pair: which response does what the description says, and the other one not (or clearly less)?
A, B, or N (neither, or both alike, or cannot be told). Read the words of the description literally, and read the texts.
Answer with one line for each pair: its number, a tab, and the letters in the order of the descriptions, e.g. `12\tANNB`.
"""


def load(name, run, dataset):
    """Texts of the pairs of a run, its features with words, and which response has them."""
    run = pathlib.Path(run)
    features = pl.read_parquet(run / "features.parquet")
    presence = pl.read_parquet(run / "presence.parquet")
    pairs = pl.read_parquet(run / "pairs.parquet").unique("pair_id", keep="first", maintain_order=True)
    data = pl.read_parquet(dataset)
    texts = {}
    for pair, row, swapped, side in pairs.select("pair_id", "row", "swapped", "side").iter_rows():
        a, b = data["response_A"][row], data["response_B"][row]
        texts[pair] = (data["prompt"][row] or "", *((b, a) if swapped else (a, b)), side)
    return {"name": name, "features": features, "presence": presence, "texts": texts}


def readable(texts, pair):
    prompt, a, b, _ = texts[pair]
    return a.strip() and b.strip() and a != b and max(len(a), len(b)) <= LONGEST


def near_misses(sets, feature, wanted, rng):
    """Pairs whose words are like those of pairs where the feature fires, and where it does not."""
    best = []
    for s in sets:
        if feature not in s["presence"].columns:
            continue
        z = s["presence"][feature].to_numpy()[s["open"]]
        if (z != 0).sum() < 8:
            continue
        x = s["tfidf"]
        fires = z != 0
        # Odd under swapping: both orders of every firing pair.
        model = LogisticRegression(C=10.0, fit_intercept=False, max_iter=200)
        model.fit(vstack([x[fires], -x[fires]]), np.concatenate([z[fires], -z[fires]]) > 0)
        score = np.abs(x @ model.coef_[0])
        score[fires] = -1
        for i in np.argsort(-score)[: 6 * wanted]:
            best.append((float(score[i]), s["name"], s["ids"][i]))
    rng.shuffle(best)
    return best[:wanted]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--fired", type=int, default=26)
    parser.add_argument("--silent", type=int, default=16)
    parser.add_argument("--readers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sources", default="known")
    parser.add_argument("--features", type=int, help="so many of each set and source, at random")
    parser.add_argument("--held-out", action="store_true", help="held-out pairs alone")
    parser.add_argument("--only", help="these features alone, by commas")
    parser.add_argument("--not-in", nargs="*", default=[], help="key.parquet of earlier readings: other pairs")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    sets = [load(*spec.split("=")) for spec in options.sets]
    sources = options.sources.split(",")

    read = {row for key in options.not_in for row in pl.read_parquet(key).select("set", "pair_id").iter_rows()}
    words, fired = {}, {}
    for s in sets:
        ids = s["presence"]["pair_id"].to_list()
        s["open"] = [
            i for i, pair in enumerate(ids)
            if readable(s["texts"], pair) and (s["name"], pair) not in read and (not options.held_out or s["texts"][pair][3] == "held_out")
        ]
        s["ids"] = [ids[i] for i in s["open"]]
        a = [s["texts"][pair][1] for pair in s["ids"]]
        b = [s["texts"][pair][2] for pair in s["ids"]]
        s["found"] = {row["pair_id"]: row for row in s["presence"].iter_rows(named=True)}
        vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(a + b)
        s["tfidf"] = vectors[: len(a)] - vectors[len(a):]
        chosen = s["features"].filter(
            pl.col("kept") & (pl.col("description") != "") & pl.col("source").is_in(sources)
        )
        if options.only:
            chosen = chosen.filter(pl.col("feature_id").is_in(options.only.split(",")))
        # What another feature says is not printed.
        if options.features:
            chosen = chosen.filter(pl.col("redundant_with").is_null())
        rows = [(f, d, src) for f, d, src in chosen.select("feature_id", "description", "source").iter_rows()]
        if options.features:
            by = {}
            for row in rows:
                by.setdefault(row[2], []).append(row)
            rows = [r for rs in by.values() for r in rng.sample(rs, min(options.features, len(rs)))]
        for feature, description, source in rows:
            key = feature if source == "known" else f"{s['name']}:{feature}"
            words[key] = description
            z = s["presence"][feature].to_numpy()
            for i, pair in zip(s["open"], s["ids"]):
                if z[i] != 0:
                    fired.setdefault(key, []).append((s["name"], pair))
    by_name = {s["name"]: s for s in sets}
    for key in words:
        rng.shuffle(fired.setdefault(key, []))

    asked = {}  # (set, pair) -> {key: what the program found}
    need = {key: min(options.fired, len(at)) for key, at in fired.items()}
    found_in = {}
    for key, at in fired.items():
        for place in at:
            found_in.setdefault(place, []).append(key)
    places = sorted(found_in)
    rng.shuffle(places)

    def found(key, place):
        s = by_name[place[0]]
        feature = key.split(":")[-1]
        return int(s["found"][place[1]][feature])

    for least in (4, 2, 1):
        for place in places:
            keys = [key for key in found_in[place] if need[key] > 0 and key not in asked.get(place, {})]
            if len(keys) >= least and len(asked.get(place, {})) < QUESTIONS:
                rng.shuffle(keys)
                for key in keys[: QUESTIONS - len(asked.get(place, {}))]:
                    asked.setdefault(place, {})[key] = found(key, place)
                    need[key] -= 1
    if options.silent:
        for key in words:
            feature = key.split(":")[-1]
            among = [by_name[key.split(":")[0]]] if ":" in key else sets
            for _, name, pair in near_misses(among, feature, options.silent, rng):
                asked.setdefault((name, pair), {})[key] = found(key, (name, pair))

    options.out.mkdir(parents=True, exist_ok=True)
    places = sorted(asked)
    rng.shuffle(places)
    rows, files = [], [[] for _ in range(options.readers)]
    for number, place in enumerate(places):
        name, pair = place
        prompt, a, b, _ = by_name[name]["texts"][pair]
        keys = sorted(asked[place])
        rng.shuffle(keys)
        reader = number % options.readers
        text = [f"### {number}", f"PROMPT (end of it): {prompt[-PROMPT:].strip()}", f"<<A>>\n{a}", f"<<B>>\n{b}", "DESCRIPTIONS"]
        for at, key in enumerate(keys):
            text.append(f"{at + 1}. {words[key]}")
            rows.append((reader, number, at, name, pair, key, words[key], asked[place][key]))
        files[reader].append("\n".join(text))
    for reader, texts in enumerate(files):
        (options.out / f"batch_{reader}.md").write_text(HEAD + "\n" + "\n\n".join(texts) + "\n")
    columns = ["reader", "number", "at", "set", "pair_id", "feature", "description", "found"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(options.out / "key.parquet")
    print(len(places), "pairs,", len(rows), "questions,", len(words), "features")


main()
