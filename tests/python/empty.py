"""Every verb in an environment that holds the wheel and nothing else; tables go in and out as files.

    python tests/python/empty.py RUN DATA OUT        (RUN: a finished run of DATA, a Parquet file; OUT: a new folder)
"""

import importlib.util
import pickle
import sys
from pathlib import Path

import wimhf

path, data, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
for name in ("numpy", "pandas", "polars", "pyarrow"):
    assert importlib.util.find_spec(name) is None, f"{name} is here: the environment is not empty"
out.mkdir()
run = wimhf.open(path)
assert len(run.principles) > 3 and run.principles.to_dicts()[0]["rank"] == 1
assert wimhf.inspect(data).found["pairs"]
again = wimhf.analyze(data, out=path, progress=False)
done = [stage["name"] for stage in again.manifest["stages"] if stage["status"] != "reused"]
assert not done, f"{done} were done again"
assert len(run.evidence(1, n=3)) > 0
assert run.score(data, out=out / "scored.parquet", explain=True).stat().st_size > 0
# A table of ours is one like any other: what comes out goes in.
held = run.evidence(1, n=5)
assert len(pickle.loads(pickle.dumps(run.scorer())).transform(held)) == len(held)
changed = run.relabel("1:avoid", top=5, out=out / "changed.parquet")
assert len(changed.decisions["marked"]) == 5 and wimhf.undo_relabel(changed.files[0])
assert run.personalize(evaluate=False, out=out / "personal").found["annotators"] > 1
assert run.constitution(3, out=out / "constitution").principles
assert wimhf.compare(run, by="model_A", out=out / "compared").page.exists()
assert run.principles.to_dicts()[0]["feature_ids"][0] in run.report(out=out / "page.html").read_text("utf-8")
assert run.export("trl", out=out / "trl.jsonl").exists()
try:
    run.principles.to_polars()
except wimhf.InputError as error:
    assert "pip install polars" in str(error), error
else:
    raise AssertionError("polars is not here")
