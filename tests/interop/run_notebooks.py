"""Executes notebooks from top to bottom; fails on the first cell that does.

    python run_notebooks.py [--write] NOTEBOOK...

WIMHF_RUN names a run of the sample; `wimhf` is installed. `--write` keeps the outputs in the notebooks.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

words = sys.argv[1:]
write = "--write" in words
for name in (Path(word) for word in words if word != "--write"):
    notebook = nbformat.read(name, as_version=4)
    with tempfile.TemporaryDirectory() as work:
        os.environ["WIMHF_WORK"] = work
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(name.parent)}}).execute()
    for cell in notebook.cells:
        # When a cell ran says nothing to a reader and changes each time.
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"{name}: {output.text}"
    if write:
        nbformat.write(notebook, name)
    size = len(nbformat.writes(notebook))
    assert size < 200_000, f"{name} has {size} bytes of outputs"
    print(f"{name.name}: executed, {size} bytes", flush=True)
