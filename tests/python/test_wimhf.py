"""The Python module from outside, over the wheel: what comes in, what comes out, what is raised, what stops.

    python -m unittest discover tests/python      (with wimhf and tests/interop/requirements.txt installed)
"""

import ctypes
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path

import datasets
import duckdb
import numpy
import pandas
import polars
import pyarrow
import pyarrow.parquet

import wimhf
from wimhf import _effects

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample.parquet"
ROWS = 400
#: Small, so that a dozen analyses take seconds; the same for the command and the module.
SETTINGS = {"seed": 3, "features": 8, "active": 2, "device": "cpu", "progress": False}
COMMAND = ["--seed", 3, "--features", 8, "--active", 2, "--device", "cpu", "--quiet"]
RESULTS = ("principles.json", "features.parquet", "activations.parquet")


def command(*arguments, **options):
    words = [sys.executable, "-m", "wimhf", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


def python(code, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, **options)


def _obeys_permissions():
    """Gives up the right to write where permissions say otherwise (CAP_DAC_OVERRIDE), which root keeps."""
    prctl, drop_from_bounding_set, dac_override = ctypes.CDLL(None).prctl, 24, 1
    prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


class WithRuns(unittest.TestCase):
    """A slice of the sample, and the command's run of it, made once."""

    folder = None

    @classmethod
    def setUpClass(cls):
        if WithRuns.folder is not None:
            return
        WithRuns.folder = tempfile.TemporaryDirectory()
        WithRuns.at = Path(cls.folder.name)
        # The sample's planted slips (7, 99) are too many for so few rows: the reader would ask what they mean.
        WithRuns.sample = polars.read_parquet(SAMPLE).filter(polars.col("label").is_in([0.0, 0.5, 1.0]))
        WithRuns.table = pyarrow.table(cls.sample.head(ROWS)).combine_chunks()
        WithRuns.file = cls.at / "slice.parquet"
        pyarrow.parquet.write_table(cls.table, cls.file)
        done = command("analyze", cls.file, "--out", cls.at / "command", *COMMAND)
        assert done.returncode == 0, done.stderr
        WithRuns.run_ = wimhf.open(cls.at / "command")

    def same_results(self, path):
        for name in RESULTS:
            self.assertEqual((path / name).read_bytes(), (self.at / "command" / name).read_bytes(), f"{path}: {name}")


class TablesIn(WithRuns):
    def analyzed(self, data, name):
        run = wimhf.analyze(data, out=self.at / name, **SETTINGS)
        self.same_results(run.path)
        again = wimhf.open(run.path)
        self.assertEqual(len(again.principles), run.manifest["metrics"]["principles"])
        return again

    def test_pandas(self):
        frame = self.table.to_pandas()
        frame.index = frame.index + 100
        run = self.analyzed(frame, "pandas")
        # What needs the dataset again finds it in the run.
        self.assertGreater(len(run.evidence(1, n=3)), 0)

    def test_polars(self):
        self.analyzed(polars.from_arrow(self.table), "polars")

    def test_pyarrow_and_a_stream_of_batches(self):
        self.analyzed(self.table, "pyarrow")
        batches = self.table.to_batches(max_chunksize=97)
        self.analyzed(pyarrow.RecordBatchReader.from_batches(self.table.schema, iter(batches)), "stream")

    def test_duckdb(self):
        with duckdb.connect() as connection:
            self.analyzed(connection.sql(f"select * from read_parquet('{self.file}')"), "duckdb")

    def test_datasets(self):
        data = datasets.Dataset(self.table)
        order = list(reversed(range(ROWS)))
        self.analyzed(data.select(order).select(order), "datasets")

    def test_a_path_and_keywords(self):
        run = wimhf.analyze(self.file, out=self.at / "path", config={"principles": {"evidence": 5}}, **SETTINGS)
        self.same_results(run.path)
        reused = wimhf.analyze(str(self.file), out=self.at / "path", **SETTINGS)
        self.assertEqual({stage["status"] for stage in reused.manifest["stages"]}, {"reused"})

    def test_columns_by_role(self):
        renamed = self.table.rename_columns(["q", "left", "right", "winner", *self.table.column_names[4:]])
        columns = {"prompt": "q", "response_a": "left", "response_b": "right", "label": "winner"}
        run = wimhf.analyze(renamed, out=self.at / "renamed", columns=columns, **SETTINGS)
        self.same_results(run.path)

    def test_vectors_beside_a_table(self):
        random = numpy.random.default_rng(1)
        a, b = random.normal(size=(2, ROWS, 24))
        run = wimhf.analyze(self.table, out=self.at / "vectors", embeddings=(a, b), **SETTINGS)
        self.assertEqual(run.sae["encoder"].shape[1], 24)
        self.assertEqual(run.manifest["config"]["sae"]["features"], 8)
        dropped = sum(run.manifest["dataset"]["dropped"].values())
        bad = a.copy()
        bad[5, 3] = numpy.nan
        run = wimhf.analyze(self.table, out=self.at / "nan", embeddings=(bad, b), **SETTINGS)
        self.assertEqual(sum(run.manifest["dataset"]["dropped"].values()), dropped + 1)
        with self.assertRaisesRegex(wimhf.InputError, "rows"):
            wimhf.analyze(self.table, out=self.at / "none", embeddings=(a[:5], b[:5]), **SETTINGS)
        with self.assertRaisesRegex(wimhf.InputError, "NaN|not a number|finite"):
            wimhf.analyze(self.table, out=self.at / "none", embeddings=(a * numpy.nan, b), **SETTINGS)

    def test_inspect(self):
        found = wimhf.inspect(self.table)
        told = wimhf.inspect(self.file)
        self.assertEqual(found.found, told.found)
        self.assertEqual(found.read["sources"][0]["rows"], ROWS)


class OnWorkers(WithRuns):
    """Functions over batches as workers call them; on real clusters: tests/clusters."""

    def scored(self, batches, **options):
        found = wimhf.spark.score(batches, self.run_.path, **options)
        return pyarrow.Table.from_batches(list(found))

    def test_batches_of_any_size_give_the_same_bits(self):
        whole = self.run_.score(self.table, explain=True).to_arrow()
        for rows in (7, ROWS):
            found = self.scored(self.table.to_batches(max_chunksize=rows), explain=True)
            self.assertEqual(found.cast(whole.schema), whole)
        self.assertEqual(list(wimhf.spark.score([], "/nowhere")), [])

    def test_columns_of_any_type_pass_through(self):
        tags = pyarrow.array([[("k", row)] for row in range(ROWS)], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
        price = pyarrow.array(range(ROWS)).cast(pyarrow.decimal128(30, 5))
        table = self.table.append_column("tags", tags).append_column("price", price)
        found = self.scored(table.to_batches())
        for name in table.column_names:
            self.assertEqual(found.column(name), table.column(name))

    def test_vectors_for_analyze(self):
        batches = self.table.to_batches(max_chunksize=90)
        found = pyarrow.Table.from_batches(list(wimhf.spark.embed(batches, names=("u", "v"))))
        actor = wimhf._workers.embedder({"embedder": "boxed"})
        fixed = wimhf._workers.embedded(actor, self.table, ("u", "v"))
        self.assertEqual(fixed.schema.field("u").type, pyarrow.list_(pyarrow.float32(), 256))
        self.assertEqual(fixed.column("v").to_pylist(), found.column("v").to_pylist())
        run = wimhf.analyze(found, out=self.at / "cluster", embedding_columns=["u", "v"], **SETTINGS)
        self.assertEqual(run.sae["encoder"].shape[1], 256)

    def test_what_a_worker_lacks_is_said_plainly(self):
        for call in (lambda: list(wimhf.spark.score(self.table.to_batches(), "/nowhere")),
                     lambda: wimhf._workers.packed_run("/nowhere")):
            with self.assertRaisesRegex(wimhf.RunError, "`/nowhere` is not on this machine") as raised:
                call()
            self.assertEqual(str(pickle.loads(pickle.dumps(raised.exception))), str(raised.exception))
        for name in ("openai:m", "hf://a/b"):
            with self.assertRaisesRegex(wimhf.InputError, "ask no server"):
                list(wimhf.spark.embed(self.table.to_batches(), name))
        bare = self.at / "bare"
        shutil.copytree(self.run_.path, bare)
        (bare / "score" / "weights.json").unlink()
        with self.assertRaisesRegex(wimhf.RunError, "workers write nothing"):
            list(wimhf.spark.score(self.table.to_batches(), bare))

    def test_they_are_imported_where_they_are_named(self):
        done = python("""
            import sys, wimhf
            assert not {"wimhf.spark", "wimhf.ray", "pyspark", "ray", "pyarrow"} & set(sys.modules)
            wimhf.spark, wimhf.ray
            assert not {"pyspark", "ray", "pyarrow"} & set(sys.modules)
        """)
        self.assertEqual(done.returncode, 0, done.stderr)


class EffectsInParts(WithRuns):
    """Sums over parts of a scored table, put together: the command's figures, whatever the parts."""

    def test_they_are_the_commands(self):
        # The command takes the mean of labels that are repeated; in parts each counts.
        table = polars.from_arrow(self.table).unique(["prompt", "response_A", "response_B"], keep="first", maintain_order=True)
        self.held_against_the_command(table, "effects")

    def test_a_few_people(self):
        """Eight of them, with very unequal shares: their tastes are estimated otherwise."""
        table = polars.from_arrow(self.table).unique(["prompt", "response_A", "response_B"], keep="first", maintain_order=True)
        person = [int(8 ** ((row * 0.618034) % 1)) for row in range(len(table))]
        self.held_against_the_command(table.with_columns(annotator_id=polars.Series([f"p{at}" for at in person])), "few")

    def held_against_the_command(self, table, name):
        file, run, out = (self.at / f"{name}{end}" for end in (".parquet", "", "-scored.parquet"))
        table.write_parquet(file)
        self.assertEqual(command("analyze", file, "--out", run, *COMMAND).returncode, 0)
        self.assertEqual(command("score", run, file, "--out", out, "--quiet").returncode, 0)
        scored = pyarrow.parquet.read_table(out)
        some = [name for name in scored.column_names if name.startswith(("known_", "dictionary_", "difference_"))][::3]
        fits, words = _effects.plan(run, scored.column_names, annotator="annotator_id", features=some)
        order = numpy.random.default_rng(1).permutation(len(scored))
        one = _effects.effects(_effects.OneMachine(scored, fits), fits, words).to_arrow().to_pylist()
        many = _effects.effects(_effects.OneMachine(scored.take(order), fits, 9), fits, words).to_arrow().to_pylist()
        ours = {row["feature_id"]: row for row in wimhf.open(run).effects.to_arrow().to_pylist()}
        figures = 0
        for row, other in zip(one, many):
            expected = ours[row["feature_id"]]
            # Separated labels have a bounded estimate, on one machine alone.
            if expected["beta"] is None or expected["note"]:
                self.assertTrue(row["note"], (row, expected))
                continue
            for name in ("n", "beta", "beta_se", "beta_p", "beta_se_cluster", "beta_p_cluster"):
                self.assertAlmostEqual(row[name], other[name], delta=1e-10, msg=f"{row['feature_id']} {name}, in parts")
                self.assertAlmostEqual(row[name], expected[name], delta=1e-10, msg=f"{row['feature_id']} {name}")
                figures += 1
        self.assertGreater(figures, 60)

    def test_what_cannot_be_measured_is_said(self):
        scored = pyarrow.table({name: ["x"] for name in ("prompt", "response_A", "response_B", "wimhf_pair_id", "known_longer")}
                               | {"label": [1.0]})
        with self.assertRaisesRegex(wimhf.InputError, "`nonsense` is no feature of the run\nhint: known_longer"):
            _effects.plan(self.run_.path, scored.column_names, features=["nonsense"])
        with self.assertRaisesRegex(wimhf.InputError, "the table has no column `who`"):
            _effects.plan(self.run_.path, scored.column_names, features=["known_longer"], annotator="who")

    def test_student(self):
        # scipy.stats.t.sf(t, df) * 2
        for t, df, p in [(2.0, 5.0, 0.10193947882985835), (-1.5, 0.5, 0.5079017906481084), (0.0, 3.0, 1.0),
                         (40.0, 12.3, 2.12189649587767e-14), (2.5, 1e6, 0.012419489502163254)]:
            self.assertAlmostEqual(_effects.student_p(t, df) / p, 1, delta=1e-7, msg=f"{t}, {df}")


class EveryVerbOnEveryTable(WithRuns):
    """What a verb makes of a run of a table is what the command makes of its run of the file, whatever the table was."""

    def tables(self):
        batches = self.table.to_batches(max_chunksize=97)
        connection = duckdb.connect()
        self.addCleanup(connection.close)
        return {
            "pandas": self.table.to_pandas(),
            "polars": polars.from_arrow(self.table),
            "pyarrow": self.table,
            "stream": pyarrow.RecordBatchReader.from_batches(self.table.schema, iter(batches)),
            "duckdb": connection.sql(f"select * from read_parquet('{self.file}')"),
            "datasets": datasets.Dataset(self.table),
        }

    def commands(self):
        """What the command writes, once."""
        run, at = self.at / "command", self.at / "verbs"
        for verb, *words in (
            ("score", run, self.file, "--out", at / "scored.parquet", "--explain", "--quiet"),
            ("relabel", run, "--rule", "1:avoid", "--top", 5, "--out", at / "relabelled.parquet"),
            ("personalize", run, "--no-evaluation", "--out", at / "personal"),
            ("constitution", run, "--principles", 3, "--out", at / "constitution"),
            ("compare", run, "--by", "model_A", "--out", at / "compared"),
        ):
            if not at.exists():
                at.mkdir()
            done = command(verb, *words)
            self.assertEqual(done.returncode, 0, f"{verb}: {done.stderr}")
        return at

    def test_inspect_and_score(self):
        told = wimhf.inspect(self.file).found
        for name, table in self.tables().items():
            with self.subTest(name):
                self.assertEqual(wimhf.inspect(table).found, told)
        wanted = self.run_.score(self.file, explain=True, out=self.at / "told.parquet")
        wanted = polars.read_parquet(wanted).to_dicts()
        scorer = self.run_.scorer(explain=True)
        for name, table in self.tables().items():
            with self.subTest(name):
                self.assertEqual(scorer.transform(table).to_polars().to_dicts(), wanted)

    def test_every_verb(self):
        at = self.commands()
        for name, table in self.tables().items():
            with self.subTest(name):
                # The run is made anew, or found finished where another test has made it of the same table.
                run = wimhf.open(wimhf.analyze(table, out=self.at / name, **SETTINGS).path)
                self.same_results(run.path)
                out = self.at / f"{name} verbs"
                out.mkdir()
                scored = run.score(self.file, out=out / "scored.parquet", explain=True)
                self.assertEqual(scored.read_bytes(), (at / "scored.parquet").read_bytes())
                changed = run.relabel(["1:avoid"], top=5, out=out / "relabelled.parquet").files[0]
                self.assertTrue(polars.read_parquet(changed).equals(polars.read_parquet(at / "relabelled.parquet")))
                run.personalize(evaluate=False, out=out / "personal")
                for file in ("annotator_weights.parquet", "annotator_weights.json"):
                    ours, theirs = (folder / "personal" / file for folder in (out, at))
                    self.assertEqual(ours.read_bytes(), theirs.read_bytes(), file)
                found = run.constitution(3, out=out / "constitution").found
                theirs = json.loads((at / "constitution" / "constitution.json").read_text())
                self.assertEqual({**found, "dataset": None}, {**theirs, "dataset": None})
                found = wimhf.compare(run, by="model_A", out=out / "compared").found
                theirs = json.loads(next((at / "compared").glob("*.json")).read_text())
                self.assertEqual(found["concepts"], theirs["concepts"])
                page = run.report(out=out / "page.html").read_text("utf-8")
                for principle in run.findings["principles"]:
                    self.assertIn(principle["feature_ids"][0], page)

    def test_a_read_only_run_scores(self):
        wanted = self.run_.score(self.table).to_polars().to_dicts()
        for name in ("frozen", "frozen, of a version without weights"):
            frozen = self.at / name
            shutil.copytree(self.run_.path, frozen)
            if name != "frozen":
                (frozen / "score" / "weights.json").unlink()
                record = json.loads((frozen / "run.json").read_text())
                record["stages"] = [stage for stage in record["stages"] if stage["name"] != "score"]
                (frozen / "run.json").write_text(json.dumps(record))
            before = {path: path.stat().st_mtime_ns for path in frozen.rglob("*")}
            for path in (frozen, *before):
                path.chmod(path.stat().st_mode & ~0o222)
            code = f"""
                import json, sys, pyarrow.parquet, wimhf
                for place in ("new", "score/new"):
                    try:
                        open({str(frozen)!r} + "/" + place, "w")
                    except PermissionError:
                        continue
                    sys.exit("the folder can be written to")
                table = pyarrow.parquet.read_table({str(self.file)!r})
                scored = wimhf.open({str(frozen)!r}).score(table)
                wimhf.Table.to_polars(scored).write_parquet({str(self.at / "from frozen.parquet")!r})
            """
            # Who may do anything would write all the same: the child gives that right up.
            done = python(code, preexec_fn=_obeys_permissions)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(polars.read_parquet(self.at / "from frozen.parquet").to_dicts(), wanted, name)
            self.assertEqual(before, {path: path.stat().st_mtime_ns for path in frozen.rglob("*")}, "nothing was written")
            for path in (frozen, *before):
                path.chmod(path.stat().st_mode | 0o200)


class TablesOut(WithRuns):
    def test_tables(self):
        run = self.run_
        self.assertEqual(len(run.principles), run.manifest["metrics"]["principles"])
        self.assertGreater(len(run.principles), 0)
        features = run.features.to_arrow()
        self.assertEqual(features.schema.field("description").type, pyarrow.string())
        self.assertEqual(features.schema.field("flags").type, pyarrow.list_(pyarrow.string()))
        self.assertEqual(features.to_pydict(), pyarrow.parquet.read_table(run.path / "features.parquet").to_pydict())
        self.assertEqual(run.features.to_polars().to_dicts(), features.to_pylist())
        self.assertEqual(len(run.features.to_pandas()), len(features))
        ours = run.features
        self.assertEqual(duckdb.sql("select count(*) from ours").fetchall(), [(len(features),)])
        self.assertEqual(len(run.effects), len(run.features))
        delta = run.features.to_arrow()["win_delta"].to_pylist()
        self.assertEqual(run.effects.to_arrow()["win_delta"].to_pylist(), delta)
        self.assertEqual(run.activations.columns[0], "pair_id")
        self.assertIn("embedding", " ".join(run.ablation["auc"]))
        self.assertEqual(set(run.sae) >= {"encoder", "decoder"}, True)
        self.assertIn("<table>", run._repr_html_())
        self.assertIn("<table>", run.pairs._repr_html_())

    def test_text_beyond_a_batch(self):
        rows = 40_000
        table = pyarrow.table({"n": range(rows), "text": [f"text {i} ä🦀" if i % 7 else None for i in range(rows)]})
        self.assertEqual(wimhf.Table(wimhf._wimhf.Frame.read(table.__arrow_c_stream__())).to_arrow().to_pydict(), table.to_pydict())
        empty = table.slice(0, 0)
        out = wimhf.Table(wimhf._wimhf.Frame.read(empty.__arrow_c_stream__())).to_arrow()
        self.assertEqual((out.num_rows, out.column_names), (0, ["n", "text"]))

    def test_evidence(self):
        statement = self.run_.principles.to_dicts()[0]
        both = self.run_.evidence(1, n=4).to_polars()
        self.assertEqual(both["side"].to_list(), ["for"] * 4 + ["against"] * 4)
        held = self.run_.pairs.to_polars().filter(polars.col("side") == "held_out")["pair_id"]
        self.assertTrue(set(both["pair_id"]) <= set(held))
        self.assertEqual(both["pair_id"][0], statement["evidence"]["for"][0])
        with self.assertRaisesRegex(wimhf.InputError, "did you mean|lists all"):
            self.run_.evidence("refusess")

    def test_score_is_the_commands(self):
        done = command("score", self.at / "command", self.file, "--out", self.at / "scored.parquet", "--explain", "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        wanted = polars.read_parquet(self.at / "scored.parquet")
        scored = self.run_.score(self.table, explain=True)
        self.assertEqual(scored.to_polars().to_dicts(), wanted.to_dicts())
        path = self.run_.score(self.file, out=self.at / "file.parquet", explain=True)
        self.assertEqual(path.read_bytes(), (self.at / "scored.parquet").read_bytes())
        scorer = pickle.loads(pickle.dumps(self.run_.scorer(explain=True)))
        parts = [scorer.transform(self.table.slice(start, 123)).to_polars() for start in range(0, ROWS, 123)]
        self.assertEqual(polars.concat(parts).to_dicts(), wanted.to_dicts())
        short = self.run_.score(self.table.to_pandas(), features=False)
        self.assertNotIn("learned_00", short.columns)

    def test_verbs(self):
        run = self.run_
        relabelled = run.relabel("1:avoid", dry_run=True)
        self.assertEqual(relabelled.files, [])
        relabelled = run.relabel(["1:avoid"], top=5, out=self.at / "changed.parquet")
        self.assertEqual(relabelled.rows, ROWS)
        self.assertEqual(len(relabelled.decisions["marked"]), 5)
        restored = wimhf.undo_relabel(relabelled.files[0])
        self.assertEqual(pyarrow.parquet.read_table(restored[0]).to_pydict(), self.table.to_pydict())
        constitution = run.constitution(3)
        self.assertIn(len(constitution.principles), (1, 2, 3))
        self.assertTrue(all(path.exists() for path in constitution.files))
        personal = run.personalize(evaluate=False, out=self.at / "personal")
        self.assertEqual(personal.found["by"], "annotator_id")
        compared = wimhf.compare(run, run.path, out=self.at / "compared")
        self.assertEqual(len(compared.found["parts"]), 2)
        self.assertTrue(compared.page.exists())
        page = run.report(out=self.at / "page.html")
        self.assertEqual(page.read_bytes(), (run.path / "report.html").read_bytes())
        self.assertTrue(run.export("trl", out=self.at / "trl.parquet").exists())

    def test_reasons(self):
        say = {1.0: "A is better because it is concise", 0.0: "B is better, A rambles on", 0.5: "Both are fine, hard to tell"}
        labels = self.table["label"].to_pylist()
        table = self.table.append_column("why", pyarrow.array([f"{say.get(label, say[0.5])}." for label in labels]))
        run = wimhf.analyze(table, out=self.at / "reasons", **SETTINGS)
        done = run.reasons("why")
        self.assertTrue(all(path.exists() for path in done.files))
        longer = next(row for row in done.features if row["feature_id"] == "known_longer")
        self.assertEqual(longer["merit"], 0)
        self.assertEqual(longer["fault"], longer["reasons"])
        self.assertGreater(longer["reasons"], 20)
        self.assertIsInstance(done.never_stated, list)
        self.assertIn("no reasons in words", self.said(lambda: run.reasons(["label"])))
        self.assertIn("critique_columns", self.said(run.reasons))

    def said(self, call):
        with self.assertRaises(wimhf.InputError) as raised:
            call()
        return str(raised.exception)

    def test_plots(self):
        run = self.run_
        self.assertIn("layer", run.plot.principles().to_dict())
        self.assertIn("layer", run.plot.ablation().to_dict())


class Errors(WithRuns):
    def test_the_commands_sentence(self):
        bad = pyarrow.table({"title": self.table["prompt"], "stars": self.table["label"]})
        pyarrow.parquet.write_table(bad, self.at / "bad.parquet")
        said = command("analyze", self.at / "bad.parquet", "--out", self.at / "bad").stderr
        with self.assertRaises(wimhf.InputError) as raised:
            wimhf.analyze(self.at / "bad.parquet", out=self.at / "bad", progress=False)
        python = str(raised.exception)
        self.assertEqual(said.removeprefix("error: ").split()[:6], python.split()[:6])
        options = re.findall(r"--([a-z-]+)", said)
        self.assertTrue(options, said)
        self.assertTrue(all(option.replace("-", "_") in python for option in options), python)
        self.assertNotIn("--", python)
        with self.assertRaises(wimhf.InputError) as raised:
            wimhf.analyze(bad, out=self.at / "bad", progress=False)
        self.assertIn("the table", str(raised.exception))
        self.assertEqual(list((self.at / "bad" / "stages" / "data").iterdir()), [], "what was refused is not kept")
        with self.assertRaises(wimhf.InputError) as raised:
            wimhf.analyze(self.table, label_column="lable", out=self.at / "bad", progress=False)
        self.assertEqual(raised.exception.field, "label_column")
        self.assertIn("`label`", raised.exception.hint)

    def test_wrong_data(self):
        wrong = [
            (3, "type"), (None, "type"), ([], "no data"), (object(), "type"), (pandas.DataFrame, "type"),
            ("nowhere.parquet", "nowhere"), (self.table.slice(0, 0), "empty|no rows"), (pandas.DataFrame(), "no columns"),
            (pyarrow.table({"a": [1, 2]}), "the table"), (pandas.DataFrame({"prompt": [1, "x", [2]]}), "pandas"),
            (datasets.DatasetDict({"train": datasets.Dataset(self.table)}), "train"),
            (pyarrow.array([1, 2]), "type|table"),
        ]
        for data, text in wrong:
            for verb in (wimhf.analyze, wimhf.inspect):
                with self.subTest(data=str(data)[:40], verb=verb.__name__), self.assertRaisesRegex(wimhf.InputError, text):
                    out = {"out": self.at / "wrong"} if verb is wimhf.analyze else {}
                    verb(data, progress=False, **out)

    def test_wrong_settings(self):
        wrong = [
            ({"sead": 1}, "did you mean `seed`"), ({"seed": "x"}, "seed"), ({"sae": {"featurs": 3}}, "did you mean `features`"),
            ({"config": {"sae": {"features": -1}}}, "sae.features"), ({"config": 3}, "config"), ({"device": "tpu"}, "device"),
            ({"alpha": 0.1}, "several settings"), ({"columns": {"lable": "x"}}, "label"), ({"progress": 3}, "progress"),
            ({"max_cost": "much"}, "max_cost"), ({"split": [0.5, 0.5, 0.5]}, "add up"), ({"out": 3}, "out"),
        ]
        for settings, text in wrong:
            with self.subTest(settings=settings), self.assertRaisesRegex(wimhf.InputError, text):
                wimhf.analyze(self.table, **{"out": self.at / "wrong", "progress": False, **settings})

    def test_runs(self):
        with self.assertRaises(wimhf.RunError) as raised:
            wimhf.open(self.at)
        self.assertIn("run.json", str(raised.exception))
        self.assertEqual(raised.exception.hint, f'`wimhf.analyze(DATA, out="{self.at}")` makes one')
        other = self.at / "version"
        other.mkdir()
        (other / "run.json").write_text(json.dumps({"schema_version": 99}))
        with self.assertRaises(wimhf.RunError):
            wimhf.open(other)
        stranger = self.at / "stranger"
        stranger.mkdir()
        (stranger / "thesis.tex").write_text("x")
        with self.assertRaisesRegex(wimhf.RunError, "not empty"):
            wimhf.analyze(self.table, out=stranger, progress=False)
        self.assertEqual([path.name for path in stranger.iterdir()], ["thesis.tex"])
        with self.assertRaises(wimhf.RunError):
            wimhf.analyze(self.table.slice(0, 400), out=self.at / "command", progress=False)
        self.assertFalse(any((self.at / "command").glob("stages/data/*")), "another run's folder is left as it was")

    def test_everything_pickles(self):
        for kind in (wimhf.WimhfError, wimhf.InputError, wimhf.RunError, wimhf.ModelError, wimhf.BudgetError, wimhf.Cancelled):
            copy = pickle.loads(pickle.dumps(kind("what", "label_column", "do")))
            self.assertEqual((type(copy), str(copy), copy.field, copy.hint), (kind, "what", "label_column", "do"))
            self.assertEqual(kind.__module__, "wimhf")
            self.assertTrue(issubclass(kind, wimhf.WimhfError))
        self.assertTrue(issubclass(wimhf.InputError, ValueError))
        self.assertEqual(pickle.loads(pickle.dumps(self.run_)).path, self.run_.path.absolute())

    def test_without_vulkan(self):
        code = f"""
            import wimhf
            try:
                wimhf.analyze({str(self.file)!r}, out={str(self.at / "gpu")!r}, device="gpu", progress=False)
            except wimhf.WimhfError as error:
                print(type(error).__name__, error)
        """
        environment = {**os.environ, "VK_DRIVER_FILES": "/nowhere.json", "VK_ICD_FILENAMES": "/nowhere.json"}
        done = python(code, env=environment)
        self.assertIn("InputError `device gpu`", done.stdout, done.stderr)
        self.assertNotIn("panic", done.stderr)


class Stopping(WithRuns):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Long enough to be interrupted wherever one likes.
        many = cls.sample.head(1500)
        cls.large = cls.at / "large.parquet"
        many.write_parquet(cls.large)

    def child(self, out):
        code = f"""
            import sys, time, wimhf
            def told(stage, done, total):
                print(stage, done, flush=True)
            try:
                wimhf.analyze({str(self.large)!r}, out={str(out)!r}, device="cpu", progress=told)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        """
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_ctrl_c_in_every_stage(self):
        out = self.at / "stopped"
        waited = {}
        # The last ones one after the other: under load, or on a quick machine, a stage may be over before the signal is sent.
        for stage in ("read", "embed", "sentences", "sae", "describe", "themes", "effects", "principles"):
            process = self.child(out)
            for line in process.stdout:
                if line.startswith(stage + " "):
                    break
            else:
                self.fail(f"{stage} never began: {process.stderr.read()}")
            if stage in ("embed", "sentences", "describe"):
                time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate()
            waited[stage] = time.monotonic() - began
            self.assertIn("interrupted", rest, f"{stage}: {errors}")
            self.assertEqual(process.returncode, 0, errors)
        # To be read, not asserted: machines may be busy.
        print({stage: f"{seconds:.2f} s" for stage, seconds in waited.items()}, file=sys.stderr)
        stopped = wimhf.analyze(self.large, out=out, device="cpu", progress=False)
        statuses = {stage["name"]: stage["status"] for stage in stopped.manifest["stages"]}
        self.assertEqual(statuses["sentences"], "reused", "the same call goes on")
        whole = wimhf.analyze(self.large, out=self.at / "whole", device="cpu", progress=False)
        for name in RESULTS:
            self.assertEqual((stopped.path / name).read_bytes(), (whole.path / name).read_bytes(), name)

    def test_another_thread_runs_on(self):
        count = [0]
        over = threading.Event()

        def tick():
            while not over.is_set():
                count[0] += 1
                time.sleep(0.005)

        thread = threading.Thread(target=tick)
        thread.start()
        began = time.monotonic()
        wimhf.analyze(self.file, out=self.at / "threads", **SETTINGS)
        seconds = time.monotonic() - began
        over.set()
        thread.join()
        self.assertGreater(count[0], 20 * seconds, "the interpreter's lock was free")

    def test_two_at_once_one_cancelled(self):
        stop = threading.Event()
        raised = []

        def other():
            def told(stage, done, total):
                if stage == "sae":
                    stop.set()

            try:
                wimhf.analyze(self.large, out=self.at / "cancelled", device="cpu", progress=told, cancel=stop)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        run = wimhf.analyze(self.file, out=self.at / "beside", **SETTINGS)
        thread.join()
        self.assertIsInstance(raised[0], wimhf.Cancelled)
        self.same_results(run.path)

    def test_what_progress_raises_comes_out(self):
        def told(stage, done, total):
            raise ZeroDivisionError("mine")

        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            wimhf.analyze(self.file, out=self.at / "raises", device="cpu", progress=told)

    def test_forked_after_import(self):
        code = f"""
            import os, sys, wimhf, pyarrow.parquet
            table = pyarrow.parquet.read_table({str(self.file)!r}).slice(0, 50)
            run = wimhf.open({str(self.run_.path)!r})
            child = os.fork()
            if child == 0:
                scored = run.score(table)
                os._exit(0 if len(scored) == 50 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            run.score(table)
            child = os.fork()
            if child == 0:
                try:
                    run.score(table)
                except wimhf.WimhfError as error:
                    os._exit(0 if "forked" in str(error) else 2)
                os._exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            print("both")
        """
        done = python(code, timeout=300)
        self.assertEqual(done.stdout.strip(), "both", done.stderr)

    def test_import_is_quick_and_starts_no_thread(self):
        code = """
            import sys, time
            began = time.perf_counter()
            import wimhf
            seconds = time.perf_counter() - began
            threads = len(__import__("os").listdir("/proc/self/task"))
            heavy = [name for name in ("numpy", "pandas", "polars", "pyarrow", "tqdm") if name in sys.modules]
            print(seconds, threads, heavy)
        """
        best = 9.0
        for _ in range(3):
            done = python(code)
            seconds, threads, heavy = done.stdout.split(maxsplit=2)
            self.assertEqual((threads, heavy.strip()), ("1", "[]"), done.stderr)
            best = min(best, float(seconds))
        print(f"import: {best:.3f} s", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
