#!/usr/bin/env bash
# Makes the three reports of docs/gallery.md, on made data.
#
#   tests/support/gallery.sh FOLDER [WIMHF]        needs python with pyarrow
set -euo pipefail
here="$(cd "$(dirname "$0")/../.." && pwd)"
folder="$1"
wimhf="${2:-$here/target/release/wimhf}"
python="${WIMHF_PYTHON:-python3}"
mkdir -p "$folder"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here/data/sample.parquet" "$work/sample.parquet"
"$python" "$here/benches/peers/planted.py" "$work/planted.parquet" --pairs 5000 > "$work/log"
"$python" "$here/benches/peers/planted.py" "$work/unknown.parquet" --pairs 5000 --kind unknown >> "$work/log"
for name in sample planted unknown; do
  "$wimhf" analyze "$work/$name.parquet" --out "$work/run-$name" --device cpu --quiet > "$work/$name.txt"
  cp "$work/run-$name/report.html" "$folder/$name.html"
done
ls -l "$folder"
