"""Texts per CPU second of sentence-transformers, or of ONNX Runtime with the same model, on the CPU.

    python embedding_peer.py --model FOLDER --texts TEXTS.json --out OUT.safetensors [--engine torch] [--threads 2]
        [--batch 32]

`--engine torch` is `SentenceTransformer.encode`, which sorts by length and pads each batch to its longest. `--engine
onnx` is the model as `torch.onnx.export` writes it, in ONNX Runtime with its default settings, over batches that are
sorted and padded in the same way; `--engine onnx-int8` is that after `onnxruntime.quantization.quantize_dynamic` (QInt8,
per channel). The two files are made beside OUT once, outside the time that is measured.

Embeds a few texts to warm up, then all of them, tokens included, and prints one line of JSON: user + system seconds,
wall seconds, peak resident memory. The vectors go to OUT, so that the other program can be compared in what it
computes, too. The caller sets OMP_NUM_THREADS.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
from safetensors.numpy import save_file


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def export(model, folder):
    """Writes model.onnx and model-int8.onnx."""
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    bert = transformers.AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert

        def forward(self, input_ids, attention_mask):
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "texts", 1: "tokens"}
    plain = folder / "model.onnx"
    torch.onnx.export(
        Hidden(),
        (ids, ids),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["hidden"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "hidden": axes},
        opset_version=17,
        dynamo=False,
    )
    quantize_dynamic(str(plain), str(folder / "model-int8.onnx"), per_channel=True, weight_type=QuantType.QInt8)


class Onnx:
    """Batches by length, mean over the tokens, length 1: what all-MiniLM-L6-v2's files say."""

    def __init__(self, model, file, threads):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
        with open(Path(model) / "sentence_bert_config.json", encoding="utf-8") as settings:
            self.tokenizer.enable_truncation(json.load(settings)["max_seq_length"])
        self.tokenizer.no_padding()
        self.versions = f"onnxruntime {onnxruntime.__version__}"

    def encode(self, texts, batch_size):
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
        out = np.zeros((len(texts), 384), np.float32)
        for first in range(0, len(order), batch_size):
            some = order[first : first + batch_size]
            ids = np.zeros((len(some), len(encoded[some[0]])), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(some):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            (hidden,) = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            weights = mask.astype(np.float32)
            rows = np.einsum("tlw,tl->tw", hidden, weights) / weights.sum(1, keepdims=True)
            out[some] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return out


class Torch:
    def __init__(self, model, threads):
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        self.model = sentence_transformers.SentenceTransformer(model, device="cpu")
        self.versions = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"

    def encode(self, texts, batch_size):
        return self.model.encode(texts, batch_size=batch_size, convert_to_numpy=True).astype(np.float32)


def main():
    arguments = argparse.ArgumentParser()
    for name in ["--model", "--texts", "--out"]:
        arguments.add_argument(name, required=True)
    arguments.add_argument("--engine", choices=["torch", "onnx", "onnx-int8"], default="torch")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--export", action="store_true", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    folder = Path(arguments.out).parent
    if arguments.export:
        return export(arguments.model, folder)
    if arguments.engine == "torch":
        model = Torch(arguments.model, arguments.threads)
    else:
        if not (folder / "model-int8.onnx").exists():
            # In a process of its own, so that torch's memory does not count as ONNX Runtime's.
            subprocess.run([sys.executable, *sys.argv, "--export"], check=True, stdout=subprocess.DEVNULL)
        file = folder / ("model.onnx" if arguments.engine == "onnx" else "model-int8.onnx")
        model = Onnx(arguments.model, file, arguments.threads)
    with open(arguments.texts, encoding="utf-8") as file:
        texts = json.load(file)
    model.encode(texts[:8], arguments.batch)
    began, wall = cpu(), time.perf_counter()
    vectors = model.encode(texts, arguments.batch)
    began, wall = cpu() - began, time.perf_counter() - wall
    save_file({"vectors": vectors}, arguments.out)
    print(json.dumps({
        "cpu_seconds": began,
        "wall_seconds": wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": model.versions,
    }))


if __name__ == "__main__":
    main()
