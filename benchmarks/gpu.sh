#!/usr/bin/env bash
# All that is to be measured on one GPU, stage by stage.
#
#   benchmarks/gpu.sh                    # every stage, however long it takes
#   benchmarks/gpu.sh sound cifar        # some of them
#   LIMIT=540 benchmarks/gpu.sh cifar    # at most 540 s; the same command again goes on
#
#   sound   two minutes: every recipe's first losses against the CPU's, and replayed steps against
#           plain ones (gpu_sound.py); then `pretrain --graph` may be trusted
#   cifar   CIFAR-10, ResNet-18, 200 epochs: SimCLR, MoCo v2, and MoCo v2 with both directions;
#           then kNN, accuracy, throughput, share of time spent on views, peak memory (gpu_cifar.py)
#   tables  behaviour-simple and behaviour-hard-simple on CIFAR-10 and CIFAR-100 (published:
#           contrastive 79.75 / 51.82, simple 74.83 / 39.31, hard simple 84.84 / 55.71), then
#           dcl-batch-size on CIFAR-10 (kNN: SimCLR 78.9 to 81.3, DCL 83.7 to 83.5 for batches of
#           32 to 512)
#   ressl   ressl-small on CIFAR-10 (published: SimCLR 84.92, BYOL 85.82, SimSiam 88.51, MoCo v2
#           86.18, ReSSL 90.20), then on CIFAR-100 (59.28, 57.75, 60.00, 59.51, 63.79), one method
#           after the other, so that a part is worth as much as it took
#   masked  MAE on CIFAR-10, ViT-Ti/4, 400 epochs: fine-tuned, beside scratch at equal and equal
#           total epochs (published neighbours, ViT-Ti with patches of 2 pixels: 73.9 from scratch,
#           84.4 after 300 epochs of MAE, 89.8 after 2,000); then mae-mask-token, with step times
#
# Everything trains in resumable pieces (pieces.sh). Scores lie in the run folders under RUNS, tables
# in RESULTS, results/ unless told otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
ALL=${RUNS:-runs/gpu} RUNS=${RUNS:-runs/gpu} RESULTS=${RESULTS:-results} SEEDS=${SEEDS:-1} SCALE=${SCALE:-cifar}
EPOCHS=${EPOCHS:-200}
source benchmarks/pieces.sh

measure() {  # a data set and the tables on it
    in_pieces ablate "${@:2}" --scale "$SCALE" --dataset "$1" --seeds "$SEEDS" --results "$RESULTS"
}

sound() { "$PYTHON" benchmarks/gpu_sound.py --device "$DEVICE"; }

cifar() {
    local recipe
    for recipe in simclr moco-v2 moco-v2-symmetric; do
        in_pieces pretrain "$recipe" --scale "$SCALE" --dataset cifar10 --set "epochs=$EPOCHS"
        in_pieces eval "$recipe-s0-" --protocol knn
    done
    "$PYTHON" benchmarks/gpu_cifar.py "$RUNS"
}

tables() {
    measure cifar10 behaviour-simple behaviour-hard-simple
    measure cifar100 behaviour-simple behaviour-hard-simple
    measure cifar10 dcl-batch-size
}

ressl() {
    local dataset method
    for dataset in cifar10 cifar100; do
        for method in ressl simsiam moco-v2 byol simclr; do
            measure "$dataset" ressl-small --rows "$method-$dataset"
        done
    done
}

masked() {
    in_pieces pretrain mae --scale "$SCALE" --dataset cifar10
    in_pieces eval mae-s0- --protocol knn,linear,linear.class-token,linear.mean-token,finetune
    measure cifar10 mae-mask-token
}

for stage in "${@:-sound cifar tables ressl masked}"; do
    for name in $stage; do
        case $name in
            sound | cifar | tables | ressl | masked)
                RUNS=$ALL/$name
                mkdir -p "$RUNS"
                "$name"
                ;;
            *) echo "No stage '$name': sound, cifar, tables, ressl or masked." >&2; exit 2 ;;
        esac
    done
done
