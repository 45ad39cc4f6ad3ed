"""A Spark cluster of two executors with one core each, held against the command.

Some minutes for 2,000 pairs on two quiet cores; most of it is batches of seven rows.

    python tests/clusters/spark_cluster.py [PAIRS]      (with tests/clusters/requirements.txt and wimhf installed; Java 17)
"""

import functools
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import common  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402
import pyspark  # noqa: E402
from common import SHARDS, VECTORS, WAYS, say  # noqa: E402
from pyspark.errors import PythonException  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import wimhf  # noqa: E402
from wimhf import _workers  # noqa: E402

BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
WIDE = "spark.sql.execution.arrow.useLargeVarTypes"


def session(folder):
    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["SPARK_WORKER_DIR"] = str(folder / "work")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("wimhf")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        "spark.executorEnv.WIMHF_CACHE_DIR": os.environ["WIMHF_CACHE_DIR"],
        "spark.local.dir": str(folder / "spark"),
        "spark.log.level": "ERROR",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def fails(frame, words, what):
    """That the driver hears of the worker's error, with its sentence."""
    try:
        frame.toArrow()
    except PythonException as error:
        assert all(word in str(error) for word in words), f"{what}: {error}"
        say(f"{what}: the driver is told")
    else:
        raise AssertionError(f"{what}: nothing was raised")


def first(mark):
    """Whether nobody was here before. Attempts are counted anew when a stage is run again because the shuffle files of
    a lost executor went with it, so a file is what tells."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def dies_once(batches, run, mark):
    """Scores; the worker of the second partition is killed once, after its first batch."""
    from pyspark import TaskContext

    context = TaskContext.get()
    for at, batch in enumerate(wimhf.spark.score(batches, run, explain=True)):
        if context.partitionId() == 1 and at == 1 and first(mark):
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch


def executor_dies_once(batches, run, mark):
    """The same for the executor with all of its workers."""
    from pyspark import TaskContext

    context = TaskContext.get()
    for at, batch in enumerate(wimhf.spark.score(batches, run, explain=True)):
        if context.partitionId() == 1 and at == 1 and first(mark):
            daemon = Path(f"/proc/{os.getppid()}/stat").read_text().rsplit(")", 1)[1].split()
            os.kill(int(daemon[1]), signal.SIGKILL)
        yield batch


def circumstances(batches):
    """What a worker is like once it has scored."""
    list(wimhf.spark.score(batches, RUN))
    threads = len(os.listdir("/proc/self/task"))
    yield pyarrow.RecordBatch.from_pydict({"rayon": [os.environ.get("RAYON_NUM_THREADS")], "threads": [threads]})


def scores(spark, folder, machine):
    run, expected = machine.run, machine.scored
    frame = spark.read.parquet(str(folder / "plain.parquet"))
    schema = wimhf.spark.schema(frame, run, explain=True)
    step = functools.partial(wimhf.spark.score, run=str(run), explain=True)
    for partitions, rows in WAYS:
        spark.conf.set(BATCH, rows)
        common.same(expected, frame.repartition(partitions).mapInArrow(step, schema).toArrow(), f"score, {partitions} × {rows}")
    say(f"score: the command's bits for {len(WAYS)} ways of cutting")

    spark.conf.set(WIDE, "true")
    scored = frame.repartition(2).mapInArrow(step, schema).toArrow()
    spark.conf.set(WIDE, "false")
    common.same(expected, scored, "large_string")

    # Seven partitions of three rows: most are empty.
    few = frame.where("id < 3").repartition(7)
    common.same(expected.filter(pyarrow.compute.less(expected["id"], 3)), few.mapInArrow(step, schema).toArrow(), "empty partitions")
    none = frame.where("id < 0").mapInArrow(step, schema).toArrow()
    assert none.num_rows == 0 and none.column_names == expected.column_names
    say("score: large_string, empty partitions")

    options = {"features": False, "annotator": machine.annotator}
    step = functools.partial(wimhf.spark.score, run=str(run), **options)
    found = frame.repartition(2).mapInArrow(step, wimhf.spark.schema(frame, run, **options)).toArrow()
    common.same(machine.personal, found, "personal weights")
    say("score: personal weights")

    moved = folder / "moved"
    shutil.copytree(run, moved)
    shipped = wimhf.spark.ship(spark, moved)
    shutil.rmtree(moved)
    step = functools.partial(wimhf.spark.score, run=shipped, explain=True)
    common.same(expected, frame.repartition(2).mapInArrow(step, schema).toArrow(), "shipped")
    say("score: a run that was shipped and is gone")
    return frame, schema


def troubles(spark, folder, frame, schema, run, expected):
    step = functools.partial(wimhf.spark.score, run=str(run), explain=True)
    fails(frame.select("id", "label").mapInArrow(step, schema), ["InputError", "does not look like preference pairs"], "wrong columns")
    gone = functools.partial(wimhf.spark.score, run="/nowhere/run")
    fails(frame.mapInArrow(gone, schema), ["RunError", "`/nowhere/run` is not on this machine", "hint: "], "a missing run")
    spark.conf.set(BATCH, 100)
    for kill in (dies_once, executor_dies_once):
        mark = folder / kill.__name__
        step = functools.partial(kill, run=str(run), mark=str(mark))
        common.same(expected, frame.repartition(3).mapInArrow(step, schema).toArrow(), kill.__name__)
        assert mark.exists(), f"{kill.__name__}: nothing was killed"
    say("score: a killed worker and a killed executor change nothing")
    spark.conf.set(BATCH, 512)
    found = frame.repartition(2).mapInArrow(circumstances, "rayon string, threads long").toArrow().to_pylist()
    # Its own, ours, and rayon's one.
    assert all(row["rayon"] == "1" and row["threads"] <= 4 for row in found), found
    say(f"a worker has {found[0]['threads']} threads")


def relabels(spark, folder, machine, frame, schema):
    step = functools.partial(wimhf.spark.score, run=str(machine.run), explain=True)
    frame.repartition(3).mapInArrow(step, schema).write.parquet(str(folder / "scored"))
    ways = [(2, 512), (7, 7), (1, 512)]
    for (rules, options), expected, (partitions, rows) in zip(common.RELABELLINGS, machine.relabelled, ways):
        spark.conf.set(BATCH, rows)
        scored = spark.read.parquet(str(folder / "scored")).repartition(partitions)
        plan = wimhf.spark.relabel_plan(scored, machine.run, rules, annotator="annotator_id", **options)
        step = functools.partial(wimhf.spark.relabel, plan=plan)
        found = scored.mapInArrow(step, wimhf.spark.relabel_schema(scored, plan)).toArrow()
        common.relabelled_is_the_commands(expected, found, plan.marked, f"relabel, {options}, {partitions} × {rows}")
    say(f"relabel: the command's labels for {len(common.RELABELLINGS)} sets of rules")


def measures(spark, folder, machine):
    """Effects, with clusters across partitions: each annotator, and each prompt that repeats, is in several."""
    whole = spark.read.parquet(str(folder / "scored"))
    for partitions, rows in [(1, 512), (2, 512), (7, 700)]:
        spark.conf.set(BATCH, rows)
        merged = wimhf.spark.effects(whole.repartition(partitions), machine.run, annotator="annotator_id")
        checked = common.effects_are_the_commands(machine.run, merged, f"effects, {partitions} × {rows}")
    say(f"effects: {checked} features as on one machine, to {common.MERGED}")


def embeds(spark, folder, frame, table):
    whole = _workers.embedded(_workers.embedder({"embedder": "boxed"}), table, VECTORS)
    schema = wimhf.spark.embed_schema(frame)
    for partitions, rows in WAYS:
        spark.conf.set(BATCH, rows)
        embedded = frame.repartition(partitions).mapInArrow(wimhf.spark.embed, schema)
        common.same(whole, embedded.toArrow(), f"embed, {partitions} × {rows}")
        if (partitions, rows) in SHARDS:
            embedded.write.parquet(str(folder / f"shards-{partitions}-{rows}"))
    say(f"embed: the same bits for {len(WAYS)} ways of cutting")
    common.vectors_are_the_commands(folder, whole)
    model = os.environ.get("WIMHF_TEST_MINILM")
    if model:
        few = frame.where("id < 40")
        step = functools.partial(wimhf.spark.embed, embedder=model, max_tokens=64)
        made = []
        for partitions, rows in [(1, 512), (7, 3)]:
            spark.conf.set(BATCH, rows)
            made.append(few.repartition(partitions).mapInArrow(step, wimhf.spark.embed_schema(few, model)).toArrow())
        common.same(*made, "a transformer")
        say("embed: the same bits of a transformer")


def analyzes(spark, folder):
    runs = [common.analyze_shards(folder, name, folder / f"shards-{name}") for name in ("1-512", "7-7")]
    common.same_findings(*runs)
    command = folder / "scored-vectors.parquet"
    common.command("score", runs[0], one_file(folder), "--out", command, "--quiet")
    expected = pyarrow.parquet.read_table(command)
    frame = spark.read.parquet(str(folder / "shards-7-7"))
    step = functools.partial(wimhf.spark.score, run=str(runs[1]))
    spark.conf.set(BATCH, 512)
    found = frame.repartition(2).mapInArrow(step, wimhf.spark.schema(frame, runs[1])).toArrow()
    common.same(expected, found, "score with vectors")
    say("score: with vectors from the shards")


def one_file(folder):
    file = folder / "vectors-1.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(folder / "shards-1-512"), file)
    return file


def main():
    with common.place() as folder:
        machine = common.one_machine(folder, common.size())
        before = common.listing(machine.run)
        spark = session(folder)
        say("Spark is up")
        try:
            global RUN
            RUN = str(machine.run)
            frame, schema = scores(spark, folder, machine)
            troubles(spark, folder, frame, schema, machine.run, machine.scored)
            relabels(spark, folder, machine, frame, schema)
            measures(spark, folder, machine)
            embeds(spark, folder, frame, machine.table)
            analyzes(spark, folder)
        finally:
            spark.stop()
        assert common.listing(machine.run) == before, "a worker wrote into the run"
        assert not (folder / "cache").exists(), "a worker filled a cache"
        say("Spark: all as on one machine")


if __name__ == "__main__":
    main()
