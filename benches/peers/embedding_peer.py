"""Texts per CPU second of sentence-transformers on the CPU.

    python embedding_peer.py --model FOLDER --texts TEXTS.json --out OUT.safetensors [--threads 2] [--batch 32]

Loads the model, embeds a few texts to warm up, then all of them by `encode` (which sorts by length and pads each batch
to its longest), and prints one line of JSON: user + system seconds, wall seconds, peak resident memory. The vectors go
to OUT, so that the other program can be compared in what it computes, too. The caller sets OMP_NUM_THREADS.
"""

import argparse
import json
import os
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import sentence_transformers
import torch
from safetensors.numpy import save_file


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    arguments = argparse.ArgumentParser()
    for name in ["--model", "--texts", "--out"]:
        arguments.add_argument(name, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--batch", type=int, default=32)
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    with open(arguments.texts, encoding="utf-8") as file:
        texts = json.load(file)
    model = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
    model.encode(texts[:8])
    began, wall = cpu(), time.perf_counter()
    vectors = model.encode(texts, batch_size=arguments.batch, convert_to_numpy=True)
    began, wall = cpu() - began, time.perf_counter() - wall
    save_file({"vectors": vectors.astype(np.float32)}, arguments.out)
    print(json.dumps({
        "cpu_seconds": began,
        "wall_seconds": wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}",
    }))


if __name__ == "__main__":
    main()
