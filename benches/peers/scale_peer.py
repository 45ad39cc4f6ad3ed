"""How long `wimhf analyze` takes by stage, beside the simplest script that a user would write for the same question.

    python scale_peer.py WIMHF [--pairs 10000 100000] [--peer-pairs 10000 100000] [--embedder boxed]

Makes planted pairs (planted.py), runs the program on them, and then, in a process of its own, the peer: polars reads the
file, scikit-learn's TF-IDF (1-2 grams) of A minus B with a logistic regression, and every word pattern of
`data/concepts.toml` searched with Python's `re` in both responses, with hyperscan, too, where it is installed. Prints CPU
seconds, wall-clock seconds, peak memory and the ratio, with the machine and versions. Run nothing else meanwhile.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def patterns():
    """One regular expression per concept that has words or patterns."""
    found = []
    for concept in tomllib.loads((ROOT / "data/concepts.toml").read_text())["concept"]:
        parts = list(concept.get("match", []))
        words = concept.get("words", "").split()
        if words:
            parts.append(r"\b(?:" + "|".join(re.escape(w.removesuffix("*")) + (r"\w*" if w.endswith("*") else "") for w in words) + r")\b")
        if parts:
            found.append("(?:" + ")|(?:".join(parts) + ")")
    return found


def peer(path):
    """What a user would write: words that tell the label, and who says what how often."""
    import numpy as np
    import polars as pl
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    timed = {}

    def clock(name, start):
        timed[name] = round(time.process_time() - start, 2)

    start = time.process_time()
    table = pl.read_parquet(path)
    a, b = table["response_A"].to_list(), table["response_B"].to_list()
    y = (table["label"].to_numpy() > 0.5).astype(int)
    clock("read", start)
    start = time.process_time()
    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=5, max_features=50_000).fit(a + b)
    LogisticRegression(C=1.0, max_iter=200).fit(tfidf.transform(a) - tfidf.transform(b), y)
    clock("tfidf + logistic", start)
    lower = [text.lower() for text in a + b]
    start = time.process_time()
    n = len(a)
    compiled = [re.compile(p, re.MULTILINE) for p in patterns()]
    for pattern in compiled:
        has = np.fromiter((pattern.search(text) is not None for text in lower), bool, 2 * n)
        z = has[:n].astype(int) - has[n:]
        y[z != 0].mean() if (z != 0).any() else 0.0
    clock(f"{len(compiled)} patterns with re", start)
    try:
        import hyperscan
    except ImportError:
        timed["patterns with hyperscan"] = None
    else:
        start = time.process_time()
        database = hyperscan.Database()
        flags = hyperscan.HS_FLAG_MULTILINE | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_UCP
        usable = []
        for pattern in patterns():
            try:
                hyperscan.Database().compile(expressions=[pattern.encode()], flags=[flags])
                usable.append(pattern.encode())
            except hyperscan.error:
                pass
        database.compile(expressions=usable, ids=range(len(usable)), flags=[flags] * len(usable))
        hits = []
        for text in lower:
            database.scan(text.encode(), match_event_handler=lambda i, *_: hits.append(i) and None)
        clock(f"{len(usable)} patterns with hyperscan", start)
    return timed


def measured(command, **options):
    """Wall-clock and CPU seconds and peak memory (MB) of a process."""
    start = time.monotonic()
    process = subprocess.Popen(command, **options)
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with {status}")
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("wimhf", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--peer-pairs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only-peer", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the planted pairs and the runs")
    given = parser.parse_args()
    if given.only_peer:
        print(json.dumps(peer(given.only_peer)))
        return
    version = json.loads(subprocess.run([given.wimhf, "--version", "--json"], capture_output=True, check=True).stdout)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    print(f"# {cpu}, {os.cpu_count()} CPUs, Python {platform.python_version()}; wimhf {version['version']}"
          f"{'' if version.get('optimised') else ' (build of the tests: not optimised)'}")
    with tempfile.TemporaryDirectory() as folder:
        folder = given.keep or pathlib.Path(folder)
        for pairs in given.pairs:
            path = folder / f"planted_{pairs}.parquet"
            if not path.exists():
                subprocess.run([sys.executable, HERE / "planted.py", path, "--pairs", str(pairs)], check=True)
            run = folder / f"run_{pairs}"
            wall, used, memory = measured(
                [given.wimhf, "analyze", path, "--out", run, "--quiet", "--force"], stdout=subprocess.DEVNULL
            )
            print(f"{pairs:>9} pairs  wimhf  {wall:7.1f} s {used:7.1f} CPU s {memory:7.0f} MB")
            for stage in json.loads((run / "run.json").read_text())["stages"]:
                print(f"                    {stage['name']:<20} {stage['seconds']:7.1f} s")
            if pairs in given.peer_pairs:
                wall, own, memory = measured([sys.executable, __file__, given.wimhf, "--only-peer", path])
                print(f"{pairs:>9} pairs  peer   {wall:7.1f} s {own:7.1f} CPU s {memory:7.0f} MB   wimhf takes {used / own:.2f} of its CPU seconds")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
