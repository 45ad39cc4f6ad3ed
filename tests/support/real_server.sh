#!/usr/bin/env bash
# A real OpenAI-compatible server (infinity) serves all-MiniLM-L6-v2; `wimhf` embeds a dataset through it and from the
# folder, and the two must agree. Not a part of `cargo test`: the server needs PyTorch.
#
#     tests/support/real_server.sh PYTHON [WIMHF] [DATA]
#
# PYTHON is an interpreter with the packages of requirements-server.txt; WIMHF the program (default: the newest built);
# DATA a dataset (default: the sample's first 400 pairs).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${1:?the interpreter that has infinity-emb}"
wimhf="${2:-$here/../../target/debug/wimhf}"
model="$("$here/minilm.sh")"
work="$(mktemp -d)"
port=7997
export HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 INFINITY_ANONYMOUS_USAGE_STATS=0 WIMHF_CACHE_DIR="$work/cache"
data="${3:-$work/data.parquet}"
[ -n "${3:-}" ] || "$python" -c 'import sys, pyarrow.parquet as p; p.write_table(p.read_table(sys.argv[1]).slice(0, 400), sys.argv[2])' \
  "$here/../../data/sample.parquet" "$data"

"$python" -m infinity_emb v2 --model-id "$model" --served-model-name minilm --engine torch --device cpu \
  --no-model-warmup --url-prefix /v1 --port "$port" >"$work/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 600); do
  kill -0 "$server" 2>/dev/null || { tail -n 20 "$work/server.log"; exit 1; }
  "$python" -c 'import sys, urllib.request as r; r.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health")' "$port" 2>/dev/null && break
  sleep 1
done

run() { "$wimhf" analyze "$data" --device cpu --quiet "$@" >/dev/null; }
run --out "$work/server" --embedder openai:minilm --base-url "http://127.0.0.1:$port/v1" --save-embeddings "$work/server.parquet"
run --out "$work/folder" --embedder "$model" --save-embeddings "$work/folder.parquet"
grep -A 14 '"embedding":' "$work/server/run.json"
"$python" - "$work" <<'PYTHON'
import sys
import numpy as np
import pyarrow.parquet as p

a, b = (p.read_table(f"{sys.argv[1]}/{name}.parquet") for name in ["server", "folder"])
worst = 1.0
for column in a.column_names:
    if column.startswith(("vec", "embedding")):
        x, y = (np.array(t[column].to_pylist(), np.float64) for t in (a, b))
        cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        worst = min(worst, cosine.min())
        print(f"{column}: {x.shape[0]} x {x.shape[1]}, smallest cosine {cosine.min():.7f}")
assert a.column_names == b.column_names and 0.9999 <= worst < 1.0000001, worst
PYTHON
