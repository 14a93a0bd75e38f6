#!/usr/bin/env bash
# Tables of the contrastive family at their own small-image settings, on one GPU.
#
#   benchmarks/gpu_tables.sh                 # to the end, however long it takes
#   LIMIT=540 benchmarks/gpu_tables.sh       # at most 540 s; the same command again goes on
#
# behaviour-simple and behaviour-hard-simple on CIFAR-10 and CIFAR-100 (published: contrastive
# 79.75 / 51.82, simple 74.83 / 39.31, hard simple 84.84 / 55.71), then dcl-batch-size on CIFAR-10
# (kNN: SimCLR 78.9 to 81.3, DCL 83.7 to 83.5 for batches of 32 to 512). It works in pieces of at
# most 570 s: SIGTERM makes a run save a checkpoint, and the next piece resumes it. Finished runs
# are never trained again. Tables go to RESULTS, results/ unless told otherwise.
# SSLBENCH_DATA says where data sets lie; PYTHON takes another environment than .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

PIECE=${PIECE:-570} LIMIT=${LIMIT:-0} SEEDS=${SEEDS:-1} SCALE=${SCALE:-cifar}
RUNS=${RUNS:-runs/gpu-tables} RESULTS=${RESULTS:-results} DEVICE=${DEVICE:-cuda} EXTRA=(${EXTRA:-})
if [ -z "${PYTHON:-}" ]; then
    make install
    PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

measure() {  # a data set and tables on it, piece after piece; ends the script at LIMIT
    local dataset=$1 seconds status
    shift
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
            "$PYTHON" -m sslbench ablate "$@" --scale "$SCALE" --dataset "$dataset" \
            --seeds "$SEEDS" --device "$DEVICE" --runs "$RUNS" --results "$RESULTS" \
            ${EXTRA[@]+"${EXTRA[@]}"} || status=$?
        case $status in
            0) return ;;
            124) echo "$*: a piece of $seconds s is over, going on." >&2 ;;
            *) exit "$status" ;;
        esac
    done
}

measure cifar10 behaviour-simple behaviour-hard-simple
measure cifar100 behaviour-simple behaviour-hard-simple
measure cifar10 dcl-batch-size
