#!/usr/bin/env bash
# All tests, set-up included: tests/run.sh [pytest options]. Fast ones first; -m "not slow" runs those alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source shared/setup_env.sh || exit 2
ruff check .
ruff format --check .
# Two tests at once, each of one thread: most of the time is of processes that start and train on one.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TF_NUM_INTRAOP_THREADS="${TF_NUM_INTRAOP_THREADS:-1}"
exec python -m pytest -n 2 --maxschedchunk 1 "$@"
