#!/usr/bin/env bash
# Every CPU benchmark one after the other, then the tables of benchmarks/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
for name in floors augment step recipes multicrop masked knn linear; do
    "$python" "benchmarks/$name.py" "$@"
done
"$python" benchmarks/summary.py
