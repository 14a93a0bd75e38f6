#!/usr/bin/env bash
# CIFAR-10, ResNet-18, 200 epochs on one GPU: SimCLR, MoCo v2, and MoCo v2 with both directions.
#
#   benchmarks/gpu_cifar.sh                 # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_cifar.sh       # at most 540 s; the same command again goes on
#
# Trains in pieces of at most 570 s. A piece ends with SIGTERM: the run saves a checkpoint, and the
# next piece resumes it exactly. Then kNN is scored, and accuracy, throughput, the share of time
# spent on views, and peak memory are printed and written to results/benchmarks/.
# SSLBENCH_DATA says where data sets lie; PYTHON takes another environment than .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

PIECE=${PIECE:-570} LIMIT=${LIMIT:-0} EPOCHS=${EPOCHS:-200}
RUNS=${RUNS:-runs/gpu-cifar} DEVICE=${DEVICE:-cuda} EXTRA=(${EXTRA:-})
if [ -z "${PYTHON:-}" ]; then
    make install
    PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

train() {  # one recipe, piece after piece; ends the script where LIMIT is used up
    local seconds status
    while :; do
        seconds=$PIECE
        if [ "$LIMIT" -gt 0 ]; then
            seconds=$((LIMIT - SECONDS < PIECE ? LIMIT - SECONDS : PIECE))
            if [ "$seconds" -lt 30 ]; then
                echo "Time is up; the same command goes on from here." >&2
                exit 0
            fi
        fi
        status=0
        timeout --signal=TERM --kill-after=120 "$seconds" \
            "$PYTHON" -m sslbench pretrain "$1" --scale cifar --device "$DEVICE" --runs "$RUNS" \
            --set "epochs=$EPOCHS" ${EXTRA[@]+"${EXTRA[@]}"} || status=$?
        case $status in
            0) return ;;
            124)
                if ! compgen -G "$RUNS/$1-s0-*/checkpoint.pt" >/dev/null; then
                    echo "$1: not one step in $seconds s; give more with PIECE or LIMIT." >&2
                    exit 1
                fi
                echo "$1: a piece of $seconds s is over, going on." >&2
                ;;
            *) exit "$status" ;;
        esac
    done
}

for recipe in simclr moco-v2 moco-v2-symmetric; do
    train "$recipe"
    "$PYTHON" -m sslbench eval "$recipe-s0-" --protocol knn --runs "$RUNS" --device "$DEVICE"
done
"$PYTHON" benchmarks/gpu_cifar.py "$RUNS"
