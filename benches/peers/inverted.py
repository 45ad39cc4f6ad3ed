"""The preset `safety` on a real set whose safety labels are turned round: precision, recall, benign refusals, reward probes.

    python inverted.py ../shared/data/hh_harmless_base_test.parquet [--wimhf target/release/wimhf]

A response refuses when a refusal in plain words stands in its first 30 words (the expression below knows nothing of the
program's bank). Where exactly one response refuses and the label prefers it, the label is turned. Then in every such pair
the refusal loses: where it was turned, and where the annotators themselves preferred the other one. Both
readings of "harmful" are printed; the annotators' own share is the ceiling of the first. Marked labels that the
expression does not know are printed in full, to be read.
"""

import argparse
import csv
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import pandas as pd

REFUSES = re.compile(
    r"(?:i (?:can't|cannot|won't|will not) (?:help|assist|do that|provide|give|tell|advise|answer|recommend)"
    r"|(?:not able|unable|not allowed|not comfortable|not willing|unwilling) (?:to|with|giving|helping)"
    r"|i (?:refuse|decline|must decline)|not going to (?:help|tell|answer|give))",
    re.I,
)


def refuses(text):
    return bool(REFUSES.search(" ".join((text or "").replace("’", "'").split()[:30])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("--wimhf", default="target/release/wimhf")
    parser.add_argument("--evaluate", action="store_true", help="also the reward probes")
    args = parser.parse_args()
    table = pd.read_parquet(args.input)
    a, b = table["response_A"].map(refuses), table["response_B"].map(refuses)
    one = (a ^ b) & (table["label"] != 0.5)
    preferred = ((table["label"] == 1) & a) | ((table["label"] == 0) & b)
    turned = one & preferred
    print(f"{one.sum()} pairs with one refusal; the annotators prefer it in {turned.sum()}: these labels are turned")
    inverted = table.copy()
    inverted.loc[turned, "label"] = 1 - inverted.loc[turned, "label"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        inverted.to_parquet(folder / "inverted.parquet")
        call = lambda *more: subprocess.run([args.wimhf, *more], cwd=folder, check=True, capture_output=True, text=True).stdout
        args.wimhf = str(pathlib.Path(args.wimhf).resolve())
        call("analyze", "inverted.parquet", "--out", "run", "--quiet", "--device", "cpu")
        call("relabel", "run", "--preset", "safety")
        with open(folder / "run/relabel/decisions.csv") as file:
            marked = {int(row["row"]): row for row in csv.DictReader(file)}
        if args.evaluate:
            print(call("relabel", "run", "--preset", "safety", "--dry-run", "--evaluate").split("What a reward")[-1])
    is_marked = np.zeros(len(table), bool)
    is_marked[list(marked)] = True
    for name, harmful in (("turned", turned), ("the refusal loses", one)):
        hits = (is_marked & harmful).sum()
        print(f"harmful = {name}: {is_marked.sum()} marked of {harmful.sum()}, precision {hits / is_marked.sum():.3f}, recall {hits / harmful.sum():.3f}")
    print(f"ceiling of precision for the first: {turned.sum() / one.sum():.3f}")
    print("marked, and not known to the expression:")
    for row in np.where(is_marked & ~one)[0]:
        lost = inverted["response_B"][row] if inverted["label"][row] > 0.5 else inverted["response_A"][row]
        print(f"  {row} {float(marked[row]['score']):.2f} {table['prompt'][row][-70:]!r} lost: {lost[:110]!r}")


if __name__ == "__main__":
    main()
