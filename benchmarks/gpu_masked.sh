#!/usr/bin/env bash
# MAE on CIFAR-10, ViT-Ti/4, 400 epochs on one GPU: fine-tuned, and from scratch for as many epochs
# as fine-tuning has, and for as many as both have together.
#
#   benchmarks/gpu_masked.sh                 # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_masked.sh       # at most 540 s; the same command again goes on
#
# Published neighbours, ViT-Ti with patches of 2 pixels: 73.9 from scratch, 84.4 after 300 epochs of
# MAE, 89.8 after 2,000. Trains in resumable pieces (pieces.sh); `mae-mask-token` follows, with its
# step times. Scores lie in the run folder, tables in RESULTS, results/ unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
RUNS=${RUNS:-runs/gpu-masked} RESULTS=${RESULTS:-results} SEEDS=${SEEDS:-1} SCALE=${SCALE:-cifar}
source benchmarks/pieces.sh

in_pieces pretrain mae --scale "$SCALE" --dataset cifar10
in_pieces eval mae-s0- --protocol knn,linear,linear.class-token,linear.mean-token,finetune
in_pieces ablate mae-mask-token --scale "$SCALE" --dataset cifar10 --seeds "$SEEDS" \
    --results "$RESULTS"
