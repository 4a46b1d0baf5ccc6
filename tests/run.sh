#!/usr/bin/env bash
# Sets up the environment, lints and runs the tests: tests/run.sh [--all] [pytest options]. --all adds the long ones
# (wheel, browser, exports, blends, chaos, main job); -m "not slow" runs the fast ones alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source shared/setup_env.sh || exit 2
ruff check .
ruff format --check .
# Two files are tested at once with one thread each, because most of the time goes into processes that use only one
# anyway. The tests of a file share what its fixtures have trained.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TF_NUM_INTRAOP_THREADS="${TF_NUM_INTRAOP_THREADS:-1}"
chosen=(-m "not long")
if [ "${1:-}" = --all ]; then
    chosen=()
    shift
fi
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder ${chosen[@]+"${chosen[@]}"} "$@"
