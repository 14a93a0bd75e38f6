#!/usr/bin/env bash
# Tables of the contrastive family at their own small-image settings, on one GPU.
#
#   benchmarks/gpu_tables.sh                 # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_tables.sh       # at most 540 s; the same command again goes on
#
# behaviour-simple and behaviour-hard-simple on CIFAR-10 and CIFAR-100 (published: contrastive
# 79.75 / 51.82, simple 74.83 / 39.31, hard simple 84.84 / 55.71), then dcl-batch-size on CIFAR-10
# (kNN: SimCLR 78.9 to 81.3, DCL 83.7 to 83.5 for batches of 32 to 512). Trains in resumable pieces
# (pieces.sh). Tables go to RESULTS, results/ unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-runs/gpu-tables} RESULTS=${RESULTS:-results} SEEDS=${SEEDS:-1} SCALE=${SCALE:-cifar}
source benchmarks/pieces.sh

measure() {  # a data set and the tables on it
    in_pieces ablate "${@:2}" --scale "$SCALE" --dataset "$1" --seeds "$SEEDS" --results "$RESULTS"
}

measure cifar10 behaviour-simple behaviour-hard-simple
measure cifar100 behaviour-simple behaviour-hard-simple
measure cifar10 dcl-batch-size
