#!/usr/bin/env bash
# ReSSL against SimCLR, BYOL, SimSiam and MoCo v2 at 200 epochs, on one GPU.
#
#   benchmarks/gpu_ressl.sh                  # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_ressl.sh        # at most 540 s; the same command again goes on
#
# ressl-small on CIFAR-10 (published: SimCLR 84.92, BYOL 85.82, SimSiam 88.51, MoCo v2 86.18, ReSSL
# 90.20), then on CIFAR-100 (59.28, 57.75, 60.00, 59.51, 63.79), one method after the other, so that
# a part is worth as much as it took. Trains in resumable pieces (pieces.sh). Tables go to RESULTS,
# results/ unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-runs/gpu-ressl} RESULTS=${RESULTS:-results} SEEDS=${SEEDS:-1} SCALE=${SCALE:-cifar}
source benchmarks/pieces.sh

for dataset in cifar10 cifar100; do
    for method in ressl simsiam moco-v2 byol simclr; do
        in_pieces ablate ressl-small --scale "$SCALE" --dataset "$dataset" --seeds "$SEEDS" \
            --rows "$method-$dataset" --results "$RESULTS"
    done
done
