# Sourced by run_all.sh and tests/run.sh: creates .venv and puts it first on PATH.
# It is created again if requirements.txt or pyproject.toml changed, or if .venv is broken, moved or incomplete;
# otherwise the check takes a fraction of a second.
# PYTHON=/path/to/python chooses the interpreter.

_fq_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_fq_venv="$_fq_root/.venv"
_fq_stamp="$(cat "$_fq_root/requirements.txt" "$_fq_root/pyproject.toml" | cksum) $_fq_root"

_fq_healthy() {
    [ "$(cat "$_fq_venv/.ready" 2>/dev/null)" = "$_fq_stamp" ] || return 1
    "$_fq_venv/bin/python" - "$_fq_root/requirements.txt" "$_fq_root/pyproject.toml" >/dev/null 2>&1 <<'PYTHON'
import importlib.metadata, importlib.util, re, sys

import_names = {"scikit-learn": "sklearn", "pytest-xdist": "xdist"}
pins = "".join(open(path).read() for path in sys.argv[1:])
for name, pin in re.findall(r'^ *"?([\w-]+)==([\w.]+)', pins, re.M):
    assert importlib.metadata.version(name).split("+")[0] == pin, name
    assert importlib.util.find_spec(import_names.get(name, name)).origin, name
assert importlib.util.find_spec("shared").origin
PYTHON
}

_fq_python() {
    local candidate PATH=":$PATH:"
    PATH=${PATH//":$_fq_venv/bin:"/:} # if .venv is activated: its own interpreter is about to be removed
    PATH=${PATH#:}
    PATH=${PATH%:}
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' 2>/dev/null; then
            if ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
                echo "error: $candidate has no venv module; install it (on Debian or Ubuntu: apt install python3-venv)" >&2
                return 1
            fi
            command -v "$candidate"
            return 0
        fi
    done
    echo "error: needs Python 3.11 (3.11.4 or later), 3.12 or 3.13; found $(python3 --version 2>&1 || echo none)." \
        "Install one, or set PYTHON=/path/to/python3.12" >&2
    return 1
}

_fq_make() {
    local python
    python=$(_fq_python) || return 1
    echo "setting up $_fq_venv with $("$python" --version); this takes a few minutes, the first time only"
    rm -rf "$_fq_venv"
    if ! "$python" -m venv "$_fq_venv" || ! (cd "$_fq_root" && "$_fq_venv/bin/python" -m pip install -q -r requirements.txt); then
        echo "error: creating the environment failed (see above); fix the cause and run the command again" >&2
        return 1
    fi
    echo "$_fq_stamp" >"$_fq_venv/.ready"
}

if ! _fq_healthy; then
    (
        if command -v flock >/dev/null; then # if two commands start at once, the second waits for the first
            exec 9>"$_fq_root/.venv.lock"
            flock 9
        fi
        _fq_healthy || _fq_make
    ) || return 2
fi
export PATH="$_fq_venv/bin:$PATH"
