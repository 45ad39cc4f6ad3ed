#!/usr/bin/env bash
# Whether the web addresses in the documentation answer. The links within it are a test (`docs::links_…`).
#
#   tests/support/links.sh [FILE.md…]        without files: README, docs, data
set -uo pipefail
cd "$(dirname "$0")/../.."
files=("$@")
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'README.md' 'CONTRIBUTING.md' 'SECURITY.md' 'docs/*.md' 'data/*.md')

# Only links: an address in a command is an example, and may be nobody's.
addresses="$(grep -ohE '\]\(https?://[^) ]+\)' "${files[@]}" | sed -E 's/^\]\((.*)\)$/\1/; s/#.*//' | sort -u)"
dead=0
while read -r address; do
  [ -n "$address" ] || continue
  code="$(curl -sSL -o /dev/null -w '%{http_code}' --max-time 30 --retry 2 -A 'wimhf-links' "$address" 2>/dev/null)"
  case "$code" in
    # Some sites turn programs away; that is an answer.
    2??|403|429) ;;
    *) dead=$((dead + 1)); echo "$code $address: $(grep -lF "$address" "${files[@]}" | tr '\n' ' ')" ;;
  esac
done <<< "$addresses"
echo "$(wc -l <<< "$addresses") addresses, $dead without an answer"
[ "$dead" -eq 0 ]
