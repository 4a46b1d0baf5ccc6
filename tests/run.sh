#!/usr/bin/env bash
# All tests, set-up included: tests/run.sh [pytest options]. Fast ones first; -m "not slow" runs those alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source shared/setup_env.sh || exit 2
ruff check .
ruff format --check .
python -m pytest "$@"
