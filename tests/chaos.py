#!/usr/bin/env python3
"""Breaks a pipeline at random points and holds what comes out against the undisturbed one.

    tests/chaos.py target/debug/wimhf --rounds 200 --seed 1

analyze (vectors and descriptions from a server of this script) -> constitution -> relabel -> personalize -> score.
Each round disturbs one of them: a kill, a disk that is full, a server that fails, a file of the run or of the cache
that vanishes or is cut. Then everything is called again, undisturbed, and must give the same files; nothing half-written may be
left, no input may have changed, and the server must not be asked what it has answered, unless the answer was lost with
a file or was under way in a killed process. Standard library only.
"""

import argparse
import collections
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

CONCURRENCY = 4
INPUTS = ("d.jsonl", "new.jsonl", "c.toml")
BATCH = 8
# Texts in one request for vectors: what is under way is lost together.
TEXTS = 256


class Server:
    """Embeddings and chat, as good or as bad as `fault` says."""

    def __init__(self, seed):
        self.fault, self.answered, self.lock = None, collections.Counter(), threading.Lock()
        self.random = random.Random(seed)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    outer.handle(self, body)
                except (BrokenPipeError, ConnectionResetError):
                    pass

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads, request_queue_size = True, 64

            def handle_error(self, *_):
                """A killed process hangs up in the middle of a request: that is what is tried here."""

        self.http = Threads(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handle(self, to, body):
        ask = json.loads(body)
        with self.lock:
            broken = self.fault and self.random.random() < self.fault[1]
            kind = self.fault[0] if broken else None
        if kind == "hang up":
            to.close_connection = True
            to.connection.close()
            return
        if kind in ("busy", "error"):
            return self.send(to, 429 if kind == "busy" else 500, {"error": kind}, [("retry-after", "0.02")])
        if kind == "garbage":
            return self.send(to, 200, "<html>")
        if "input" in ask:
            reply = {"data": [{"index": i, "embedding": vector(text)} for i, text in enumerate(ask["input"])]}
            names = ["text " + text for text in ask["input"]]
        else:
            user = ask["messages"][-1]["content"]
            content = None if kind == "null" else think(user)
            reply = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
            names = ["ask " + ask["model"] + user] if content else []
        self.send(to, 200, reply)
        with self.lock:
            self.answered.update(name[:4] + hashlib.sha256(name.encode()).hexdigest() for name in names)

    def send(self, to, status, value, headers=()):
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        to.send_response(status)
        for name, text in headers:
            to.send_header(name, text)
        to.send_header("content-length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)


def vector(text):
    counts = [text.count(what) for what in ("a", "e", "- ", "sorry", "!", "detail", "tea", "number")]
    values = counts + [len(text) / 100, 1.0]
    norm = sum(x * x for x in values) ** 0.5
    return [x / norm for x in values]


def think(user):
    """Descriptions by rote; verdicts by length, from the marked texts."""
    if 'Answer with {"concept"' in user:
        return json.dumps({"concept": "goes on with detail about everything"})
    if not user.startswith("# pair_"):
        found = re.search(r"\{.*\}", user, re.S)
        listed = json.loads(found.group()) if found else {}
        return json.dumps({name: " ".join(str(text).split()[:4]) for name, text in listed.items()})
    out = {}
    for part in user.split("\n# pair_"):
        name = part.removeprefix("# pair_").split("\n")[0].strip()
        text = lambda side: (re.search(rf"<<RESPONSE {side} (\w+)\n(.*?)\n\1 RESPONSE {side}>>", part, re.S) or ["", "", ""])[2]
        a, b = len(text("A")), len(text("B"))
        verdict = "A" if a > b else "B" if b > a else "tie"
        ids = re.findall(r"^(s\d+): ", part.split("Statements about ")[-1], re.M)
        out["pair_" + name] = {one: verdict for one in ids} if ids else verdict
    return json.dumps(out)


def dataset(path, rows):
    topics = ["tea", "rain", "maps", "bread", "trains", "moss", "violins", "salt", "clouds", "chess"]

    def text(i, side):
        base = f"Here is what to know about {topics[(i + side) % 10]} number {i}, told the {side} way."
        more = ["\n- first point\n- second point", " I'm sorry, but I can't help with that.",
                " It goes on and on with more detail about everything." * (1 + i % 3), " Isn't that great? Wow!", ""]
        return base + more[(i * 7 + side * 3) % 5]

    with open(path, "w") as out:
        for i in range(rows):
            row = {"prompt": f"Tell me about {topics[i % 10]} ({i})", "response_A": text(i, 0), "response_B": text(i, 1),
                   "label": 1.0 if i % 3 == 0 else 0.0, "annotator_id": f"ann_{i % 4}"}
            out.write(json.dumps(row) + "\n")


class Pipeline:
    def __init__(self, binary, folder, server):
        self.binary, self.folder, self.server = binary, folder, server
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("WIMHF_")}
        self.env |= {"WIMHF_CACHE_DIR": str(folder / "cache"), "OPENAI_API_KEY": "sk-chaos-0123456789"}
        model = ["--describer", "model", "--writer", "w", "--judge", "j", "--base-url", server.url]
        self.steps = [
            ["analyze", "d.jsonl", "--out", "run", "--device", "cpu", "--features", "8", "--active", "2", "--embedder",
             "openai:m", "--concurrency", str(CONCURRENCY), "--config", "c.toml", "--quiet", *model],
            ["constitution", "run"],
            ["relabel", "run", "--rule", "refuses:avoid", "--out", "relabelled.jsonl", "--trl", "trl.jsonl"],
            ["personalize", "run", "--no-evaluation", "--min-pairs", "4"],
            ["score", "run", "new.jsonl", "--out", "scored.jsonl", "--quiet"],
        ]

    def start(self, step, before=None):
        return subprocess.Popen([self.binary, *self.steps[step]], cwd=self.folder, env=self.env, preexec_fn=before,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def call(self, step):
        child = self.start(step)
        error = child.communicate(timeout=600)[1].decode(errors="replace")
        return child.returncode, error

    def outputs(self):
        """Everything that must come out the same, without times and paths."""
        found = {}
        for name in ["relabelled.jsonl", "trl.jsonl", "scored.jsonl", "run/principles.json", "run/features.parquet",
                     "run/activations.parquet", "run/constitution.md", "run/annotator_weights.csv", "run/sae.safetensors"]:
            path = self.folder / name
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        return found

    def leftovers(self):
        return [str(p.relative_to(self.folder)) for p in self.folder.rglob(".wimhf-tmp-*")]


def disturb(pipeline, chance, took):
    """One disturbance; returns what it was, and whether answers may have been lost by it."""
    server, folder = pipeline.server, pipeline.folder
    step = chance.choice([0, 0, 0, 1, 2, 3, 4])
    kind = chance.choice(["kill", "kill", "full", "server", "remove", "cut"])
    if kind == "kill":
        child = pipeline.start(step)
        moment = chance.uniform(0.0, max(took[step], 0.05) * 1.1)
        try:
            child.wait(moment)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.communicate()
        return f"kill of {pipeline.steps[step][0]} after {moment:.2f} s", CONCURRENCY * BATCH
    if kind == "full":
        most = chance.choice([0, 1_000, 20_000, 200_000])

        def limit():
            # A write beyond it fails, as on a full disk, instead of ending the process.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        child = pipeline.start(step, limit)
        error = child.communicate(timeout=600)[1].decode(errors="replace")
        if "panicked" in error or child.returncode not in (0, 1, 2):
            raise AssertionError(f"a full disk: exit {child.returncode}: {error}")
        return f"files of at most {most} bytes in {pipeline.steps[step][0]}", CONCURRENCY * BATCH
    if kind == "server":
        server.fault = (chance.choice(["busy", "error", "garbage", "hang up", "null"]), chance.choice([0.3, 1.0]))
        child = pipeline.start(0)
        try:
            child.wait(chance.uniform(0.5, 4.0))
        except subprocess.TimeoutExpired:
            child.send_signal(chance.choice([signal.SIGINT, signal.SIGKILL]))
        child.communicate()
        fault, server.fault = server.fault, None
        return f"server: {fault}", CONCURRENCY * BATCH
    files = [p for p in folder.rglob("*") if p.is_file() and p.name not in INPUTS]
    if not files:
        return "nothing to remove", 0
    path = chance.choice(sorted(files))
    of_cache = (folder / "cache") in path.parents
    if kind == "remove":
        path.unlink()
    else:
        with open(path, "r+b") as file:
            file.truncate(chance.randint(0, max(path.stat().st_size - 1, 0)))
    return f"{kind} {path.relative_to(folder)}", 10**9 if of_cache else 0


def settle(pipeline):
    """Calls everything until it is done; the hints say how where a file is damaged."""
    for step in range(len(pipeline.steps)):
        for attempt in range(4):
            code, error = pipeline.call(step)
            if "panicked" in error:
                raise AssertionError(error)
            if code == 0:
                break
            if code != 2 or "hint:" not in error:
                raise AssertionError(f"{pipeline.steps[step][0]}: exit {code}: {error}")
            # What the message says is what a user would do.
            if "cache clear" in error:
                subprocess.run([pipeline.binary, "cache", "clear"], cwd=pipeline.folder, env=pipeline.env, check=True,
                               stdout=subprocess.DEVNULL)
            elif "--force" in error:
                if step == 0:
                    shutil.rmtree(pipeline.folder / "run")
                else:
                    pipeline.steps[0].append("--force")
                    code, error = pipeline.call(0)
                    pipeline.steps[0].remove("--force")
            elif "goes on" in error or "up to date" in error:
                pipeline.call(0)
        else:
            raise AssertionError(f"{pipeline.steps[step][0]} does not come to an end: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--keep", help="copy the folder of a failed round here")
    options = parser.parse_args()
    binary, chance = os.path.abspath(options.binary), random.Random(options.seed)
    kinds = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)

        def fresh(name):
            folder = place / name
            folder.mkdir()
            dataset(folder / "d.jsonl", options.rows)
            dataset(folder / "new.jsonl", 20)
            # Few questions: what matters is that none is asked twice.
            (folder / "c.toml").write_text("[describe.language]\nchoose = 40\nmeasure = 40\npairs_per_call = 8\n")
            return Pipeline(binary, folder, Server(options.seed))

        reference = fresh("reference")
        took = []
        for step in range(len(reference.steps)):
            began = time.time()
            code, error = reference.call(step)
            took.append(time.time() - began)
            if code != 0:
                sys.exit(f"undisturbed: {reference.steps[step][0]}: {error}")
        wanted, inputs = reference.outputs(), [(reference.folder / n).read_bytes() for n in INPUTS]
        once = max(reference.server.answered.values())
        print(f"undisturbed: {sum(took):.1f} s, {len(reference.server.answered)} answers, each {once} time(s)")
        if once != 1:
            sys.exit("the undisturbed pipeline asks twice")
        pipeline, number = None, 0
        for at in range(options.rounds):
            # A run that is disturbed several times in a row, then a new one.
            if pipeline is None or chance.random() < 0.3:
                if pipeline:
                    shutil.rmtree(pipeline.folder)
                number += 1
                pipeline = fresh(f"round-{number}")
                if chance.random() < 0.5:
                    settle(pipeline)
            pipeline.server.answered.clear()
            known = None
            try:
                what, may_lose = disturb(pipeline, chance, took)
                kinds[what.split(" ")[0]] += 1
                settle(pipeline)
                found = pipeline.outputs()
                wrong = {name for name in wanted if found[name] != wanted[name]}
                assert not wrong, f"differ: {sorted(wrong)}"
                assert not pipeline.leftovers(), f"left over: {pipeline.leftovers()}"
                now = [(pipeline.folder / n).read_bytes() for n in INPUTS]
                assert now == inputs, "an input has changed"
                again = collections.Counter()
                for name, times in pipeline.server.answered.items():
                    again[name[:4].strip()] += times - 1
                assert again["ask"] <= may_lose, f"asked again: {again}"
                assert again["text"] <= max(may_lose, min(may_lose, 1) * CONCURRENCY * TEXTS), f"asked again: {again}"
            except (AssertionError, subprocess.TimeoutExpired) as error:
                if options.keep:
                    shutil.copytree(pipeline.folder, options.keep, dirs_exist_ok=True)
                sys.exit(f"round {at + 1}: {what if known is None and 'what' in dir() else '?'}: {error}")
            print(f"round {at + 1}: {what}: right", flush=True)
    print(f"{options.rounds} rounds, all right: {dict(kinds)}")


if __name__ == "__main__":
    main()
