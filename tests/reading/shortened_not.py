"""How often "uses a shortened “not”" is true where a run says that one response alone does: the one entry of the dictionary
whose words can be counted exactly.

    python tests/reading/shortened_not.py RUN PAIRS.parquet      (polars; columns response_A and response_B)
"""

import re
import sys

import polars

FEATURE = "dictionary_d228"
SHORTENED = re.compile(r"\b\w+n['’]t\b", re.IGNORECASE)


def main(run, data):
    presence = polars.read_parquet(f"{run}/presence.parquet").select("pair_id", FEATURE).filter(polars.col(FEATURE) != 0)
    places = polars.read_parquet(f"{run}/pairs.parquet").unique("pair_id", keep="first", maintain_order=True)
    texts = polars.read_parquet(data)
    counts = {"more": 0, "as many": 0, "fewer": 0, "some": 0}
    for pair in presence.join(places, on="pair_id").rows(named=True):
        a, b = (len(SHORTENED.findall(texts[column][pair["row"]])) for column in ("response_A", "response_B"))
        said, other = (a, b) if (pair[FEATURE] > 0) != pair["swapped"] else (b, a)
        counts["more" if said > other else "as many" if said == other else "fewer"] += 1
        counts["some"] += said > 0
    assert presence.height > 0, "the run has no pair in which one response alone is said to have it"
    print(f"of {presence.height} pairs the response that is said to have it has: " + ", ".join(f"{name} {n}" for name, n in counts.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
