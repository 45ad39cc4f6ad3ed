#!/usr/bin/env bash
# A real OpenAI-compatible server (llama.cpp) serves all-MiniLM-L6-v2; `wimhf` embeds a dataset through it and from the
# model's folder, and the two must agree. Not a part of `cargo test`: the server has to be compiled, for minutes.
#
#     tests/support/real_server.sh PYTHON MODEL.gguf [WIMHF] [DATA]
#
# PYTHON     an interpreter with `pip install 'llama-cpp-python[server]' numpy pyarrow`
# MODEL.gguf made of the folder that tests/support/minilm.sh prints, by llama.cpp's own script, which lies in the source
#            package (`pip download --no-binary :all: --no-deps llama-cpp-python`, then vendor/llama.cpp):
#            PYTHONPATH=gguf-py python convert_hf_to_gguf.py FOLDER --outtype f32 --outfile MODEL.gguf
# WIMHF      the program (default: the newest debug build)
# DATA       a dataset (default: 400 pairs of the sample)
#
# Texts are cut to 400 bytes by `--max-tokens`, as the two cut long ones at different places.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${1:?the interpreter that has llama-cpp-python}"
gguf="${2:?the model as GGUF}"
wimhf="${3:-$here/../../target/debug/wimhf}"
model="$("$here/minilm.sh")"
work="$(mktemp -d)"
port="${PORT:-8097}"
export WIMHF_CACHE_DIR="$work/cache"
data="${4:-$work/data.parquet}"
[ -n "${4:-}" ] || "$python" -c '
import sys, pyarrow.parquet as p
p.write_table(p.read_table(sys.argv[1]).slice(0, 400), sys.argv[2])' "$here/../../data/sample.parquet" "$data"

"$python" -m llama_cpp.server --model "$gguf" --model_alias minilm --embedding true --n_ctx 512 --n_batch 512 \
  --n_threads 2 --host 127.0.0.1 --port "$port" --verbose false >"$work/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 600); do
  kill -0 "$server" 2>/dev/null || { tail -n 20 "$work/server.log"; exit 1; }
  "$python" -c 'import sys, urllib.request as r; r.urlopen(f"http://127.0.0.1:{sys.argv[1]}/v1/models")' "$port" \
    2>/dev/null && break
  sleep 1
done

run() { "$wimhf" analyze "$data" --device cpu --quiet "$@" >/dev/null; }
run --out "$work/server" --embedder openai:minilm --base-url "http://127.0.0.1:$port/v1" \
  --save-embeddings "$work/server.parquet"
run --out "$work/folder" --embedder "$model" --save-embeddings "$work/folder.parquet"
grep -A 14 '"embedding": {' "$work/server/run.json"
"$python" - "$work" <<'PYTHON'
import sys
import numpy as np
import pyarrow.parquet as p

a, b = (p.read_table(f"{sys.argv[1]}/{name}.parquet") for name in ["server", "folder"])
worst = 1.0
for column in ["embedding_a", "embedding_b"]:
    x, y = (np.array(t[column].to_pylist(), np.float64) for t in (a, b))
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    worst = min(worst, cosine.min())
    print(f"{column}: {x.shape[0]} x {x.shape[1]}, smallest cosine {cosine.min():.7f}")
assert worst >= 0.999, worst
PYTHON
