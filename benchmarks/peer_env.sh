#!/usr/bin/env bash
# Make .venv-peer, the peer's own environment, once. It holds lightly and its own PyTorch, so that
# neither side's requirements bend the other's.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -e .venv-peer/.installed ]; then
    "${PYTHON:-python3}" -m venv .venv-peer
    # The requirements of the extra `bench`, one a line; versions are kept in pyproject.toml alone.
    .venv-peer/bin/python -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"],
      sep="\n")' > .venv-peer/requirements.txt
    .venv-peer/bin/python -m pip install --quiet -r .venv-peer/requirements.txt
    touch .venv-peer/.installed
fi
