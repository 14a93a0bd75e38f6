#!/usr/bin/env bash
# CIFAR-10, ResNet-18, 200 epochs on one GPU: SimCLR, MoCo v2, and MoCo v2 with both directions.
#
#   benchmarks/gpu_cifar.sh                 # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_cifar.sh       # at most 540 s; the same command again goes on
#
# Trains in resumable pieces (pieces.sh). Then kNN is scored, and accuracy, throughput, the share of
# time spent on views, and peak memory are printed and written to results/benchmarks/.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-runs/gpu-cifar} EPOCHS=${EPOCHS:-200}
source benchmarks/pieces.sh

for recipe in simclr moco-v2 moco-v2-symmetric; do
    in_pieces pretrain "$recipe" --scale cifar --set "epochs=$EPOCHS"
    "$PYTHON" -m sslbench eval "$recipe-s0-" --protocol knn --runs "$RUNS" --device "$DEVICE"
done
"$PYTHON" benchmarks/gpu_cifar.py "$RUNS"
