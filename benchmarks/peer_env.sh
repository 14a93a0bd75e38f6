#!/usr/bin/env bash
# Make .venv-peer, the peer's own environment, once. It holds lightly and its own PyTorch, so that
# neither side's requirements bend the other's.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -e .venv-peer/.installed ]; then
    "${PYTHON:-python3}" -m venv .venv-peer
    .venv-peer/bin/python -m pip install --quiet 'lightly>=1.5' torch torchvision
    touch .venv-peer/.installed
fi
