"""A Ray cluster of two CPUs, held against the command.

    python tests/clusters/ray_cluster.py [PAIRS]      (with tests/clusters/requirements.txt and wimhf installed)
"""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import common  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402
import ray  # noqa: E402
from common import SHARDS, VECTORS, WAYS, say  # noqa: E402

import wimhf  # noqa: E402
from wimhf import _workers  # noqa: E402


def start(folder):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray hides what Python raises on a worker behind its own log otherwise.
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, logging_level=logging.ERROR,
             log_to_driver=False, _temp_dir=str(folder / "ray"),
             runtime_env={"env_vars": {"WIMHF_CACHE_DIR": os.environ["WIMHF_CACHE_DIR"]}})
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def through(dataset, actor, *arguments, rows=512, actors=1, **options):
    """A dataset through actors. Half a CPU each: actors on all of them would leave none for reading."""
    return dataset.map_batches(actor, fn_constructor_args=arguments, fn_constructor_kwargs=options, batch_size=rows,
                               batch_format="pyarrow", num_cpus=0.5, compute=ray.data.ActorPoolStrategy(size=actors))


def together(dataset):
    """All rows of a dataset."""
    tables = [table for table in ray.get(dataset.to_arrow_refs()) if table.num_rows]
    return pyarrow.concat_tables(tables).combine_chunks()


class DiesOnce(wimhf.ray.Scorer):
    """Kills its worker in the middle, once."""

    def __init__(self, run, marker, **options):
        super().__init__(run, **options)
        self.marker, self.calls = Path(marker), 0

    def __call__(self, batch):
        self.calls += 1
        if self.calls == 3 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


class Circumstances(wimhf.ray.Scorer):
    """What an actor is like once it has scored."""

    def __call__(self, batch):
        super().__call__(batch)
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        ours = sum(name.startswith("wimhf") or name.startswith("rayon") for name in names)
        return pyarrow.table({"rayon": [os.environ.get("RAYON_NUM_THREADS")], "ours": [ours]})


def scores(folder, machine):
    table, run, expected = machine.table, machine.run, machine.scored
    for partitions, rows in WAYS:
        dataset = ray.data.from_arrow(table).repartition(partitions)
        found = through(dataset, wimhf.ray.Scorer, str(run), rows=rows, actors=2, explain=True)
        common.same(expected, together(found), f"score, {partitions} × {rows}")
    say(f"score: the command's bits for {len(WAYS)} ways of cutting")

    found = together(through(ray.data.from_arrow(common.wide(table)), wimhf.ray.Scorer, str(run), explain=True))
    common.same(expected, found, "large_string")
    few = ray.data.from_arrow(table.slice(0, 3)).repartition(7)
    expected_few = expected.filter(pyarrow.compute.less(expected["id"], 3))
    common.same(expected_few, together(through(few, wimhf.ray.Scorer, str(run), explain=True)), "empty blocks")
    say("score: large_string, empty blocks")

    read = ray.data.read_parquet(str(folder / "plain.parquet"))
    found = through(read, wimhf.ray.Scorer, str(run), features=False, annotator=machine.annotator)
    common.same(machine.personal, together(found), "personal weights")
    say("score: personal weights, from a file")

    moved = folder / "moved"
    shutil.copytree(run, moved)
    shipped = wimhf.ray.ship(moved)
    shutil.rmtree(moved)
    found = through(ray.data.from_arrow(table), wimhf.ray.Scorer, shipped, explain=True)
    common.same(expected, together(found), "shipped")
    say("score: a run that was shipped and is gone")


def fails(dataset, words, what):
    """That the driver hears of the worker's error, with its sentence."""
    try:
        dataset.materialize()
    except Exception as error:
        told = f"{error!r} {error} {error.__cause__}"
        assert all(word in told for word in words), f"{what}: {told}"
        say(f"{what}: the driver is told")
    else:
        raise AssertionError(f"{what}: nothing was raised")


def troubles(folder, table, run, expected):
    narrow = ray.data.from_arrow(table.select(["id", "label"]))
    fails(through(narrow, wimhf.ray.Scorer, str(run)), ["does not look like preference pairs"], "wrong columns")
    missing = through(ray.data.from_arrow(table), wimhf.ray.Scorer, "/nowhere/run")
    fails(missing, ["`/nowhere/run` is not on this machine", "hint: "], "a missing run")
    dataset = ray.data.from_arrow(table).repartition(3)
    found = through(dataset, DiesOnce, str(run), str(folder / "died"), rows=100, explain=True)
    common.same(expected, together(found), "a killed worker")
    assert (folder / "died").exists()
    say("score: a killed worker changes nothing")
    found = together(through(ray.data.from_arrow(table.slice(0, 600)), Circumstances, str(run))).to_pylist()
    assert all(row["rayon"] == "1" and row["ours"] <= 2 for row in found), found
    say(f"a worker has {found[0]['ours']} threads of ours")


def relabels(machine):
    scored = through(ray.data.from_arrow(machine.table).repartition(3), wimhf.ray.Scorer, str(machine.run)).materialize()
    for (rules, options), expected in zip(common.RELABELLINGS, machine.relabelled):
        plan = wimhf.ray.relabel_plan(scored, machine.run, rules, annotator="annotator_id", **options)
        found = scored.map_batches(wimhf.ray.relabel, fn_kwargs={"plan": plan}, batch_format="pyarrow", batch_size=100)
        common.relabelled_is_the_commands(expected, together(found), plan.marked, f"relabel, {options}")
    say(f"relabel: the command's labels for {len(common.RELABELLINGS)} sets of rules")
    measures(machine, scored)


def measures(machine, scored):
    """Effects, with clusters across blocks; of some features, since the object store is small."""
    some = [name for name in scored.schema().names if name.startswith(("dictionary_", "known_"))][:40]
    for partitions in (1, 2, 7):
        merged = wimhf.ray.effects(scored.repartition(partitions), machine.run, annotator="annotator_id", features=some)
        checked = common.effects_are_the_commands(machine.run, merged, f"effects, {partitions}")
    say(f"effects: {checked} features as on one machine, to {common.MERGED}")


def embeds(folder, table):
    whole = _workers.embedded(_workers.embedder({"embedder": "boxed"}), table, VECTORS)
    for partitions, rows in WAYS:
        dataset = ray.data.from_arrow(table).repartition(partitions)
        embedded = through(dataset, wimhf.ray.Embedder, rows=rows, actors=2).materialize()
        common.same(whole, together(embedded), f"embed, {partitions} × {rows}")
        if (partitions, rows) in SHARDS:
            embedded.write_parquet(str(folder / f"shards-{partitions}-{rows}"))
    say(f"embed: the same bits for {len(WAYS)} ways of cutting")
    common.vectors_are_the_commands(folder, whole)


def analyzes(folder):
    runs = [common.analyze_shards(folder, name, folder / f"shards-{name}") for name in ("1-512", "7-7")]
    common.same_findings(*runs)


def main():
    with common.place() as folder:
        machine = common.one_machine(folder, common.size())
        before = common.listing(machine.run)
        start(folder)
        say("Ray is up")
        try:
            scores(folder, machine)
            troubles(folder, machine.table, machine.run, machine.scored)
            relabels(machine)
            embeds(folder, machine.table)
            analyzes(folder)
        finally:
            ray.shutdown()
        assert common.listing(machine.run) == before, "a worker wrote into the run"
        assert not (folder / "cache").exists(), "a worker filled a cache"
        say("Ray: all as on one machine")


if __name__ == "__main__":
    main()
