# Sourced by the GPU scripts: long work in pieces that end with SIGTERM, so that a run saves a
# checkpoint and the next piece resumes it exactly.
#
#   LIMIT  seconds in all (0: no limit); the same command again goes on
#   PIECE  seconds of a piece at most
#   RUNS, DEVICE, EXTRA (more options), PYTHON (another environment than .venv)
# SSLBENCH_DATA says where data sets lie.

PIECE=${PIECE:-570} LIMIT=${LIMIT:-0} DEVICE=${DEVICE:-cuda} EXTRA=(${EXTRA:-})
if [ -z "${PYTHON:-}" ]; then
    make install
    PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$RUNS"

in_pieces() {  # an `sslbench` command, piece after piece; ends the script where LIMIT is used up
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
        touch "$RUNS/.piece"
        status=0
        timeout --signal=TERM --kill-after=120 "$seconds" \
            "$PYTHON" -m sslbench "$@" --device "$DEVICE" --runs "$RUNS" \
            ${EXTRA[@]+"${EXTRA[@]}"} || status=$?
        case $status in
            0) return ;;
            124)
                if ! find "$RUNS" -newer "$RUNS/.piece" \( -name '*.pt' -o -name '*.json' \) | grep -q .; then
                    echo "Not one step in $seconds s; give more with PIECE or LIMIT." >&2
                    exit 1
                fi
                echo "$*: a piece of $seconds s is over, going on." >&2
                ;;
            *) exit "$status" ;;
        esac
    done
}
