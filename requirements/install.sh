#!/usr/bin/env bash
# Sets up .venv, one step per argument: package deploy tests. `make demo` and
# `make test` call it; the Makefile tells what PYTHON and MMCV are.
#
# A step leaves a stamp in .venv, with the checksum of what it was made from,
# once it is seen to work. Finished steps are skipped, interrupted ones are run
# again. All installs go through constraints.txt, for no later step to move
# numpy, opencv or setuptools.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv
LOG=$VENV/install.log
PY=$VENV/bin/python
PINS=()
ticker=

die() { # one argument per line
    printf 'error: ' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

# Python compiles what is imported; pip would compile what is never used, too.
pip_install() {
    "$PY" -m pip install --no-compile -c requirements/constraints.txt \
        ${PINS[@]+"${PINS[@]}"} "$@"
}

checksum() { # of files and folders: names and contents
    find "$@" -type f ! -name '*.pyc' -exec cksum {} + | sort | cksum
}

tick() { # seconds passed, and what pip or the compiler is at
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        local at
        at=$(tail -n 50 "$LOG" | grep -Eo '^ *\[[0-9]+/[0-9]+\]|'\
'^Collecting [A-Za-z0-9_.-]+|^Installing collected packages' | tail -n 1) ||
            true
        printf '\r\033[K%s ... %d s%s ' "$1" "$SECONDS" "${at:+, $at}"
    done
}

# step NAME CHECKSUM MESSAGE COMMAND...
step() {
    local stamp=$VENV/.done-$1 sum=$2 message=$3
    shift 3
    [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
    mkdir -p "$VENV"
    SECONDS=0
    printf '%s ... ' "$message"
    echo "=== $message" >>"$LOG"
    if [ -t 1 ]; then
        tick "$message" &
        ticker=$!
    fi
    local status=0
    "$@" >>"$LOG" 2>&1 || status=$?
    stop_ticker
    if [ $status != 0 ]; then
        printf 'failed after %d s\n' "$SECONDS"
        tail -n 30 "$LOG" >&2
        die "'$message' failed; the whole output is in $LOG." \
            "Run the same make command again to go on from here."
    fi
    echo "$sum" >"$stamp"
    printf '%d s\n' "$SECONDS"
}

stop_ticker() {
    if [ -n "$ticker" ]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        printf '\r\033[K%s ... ' "${message:-}"
        ticker=
    fi
}
trap '[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true' EXIT

version_of() { # fails where it does not run or is of no use
    "$1" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])
sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null
}

# What the machine itself must have is told before anything is downloaded.
check_python() {
    local tried=(python3.11 python3.12 python3.13 python3.10 python3) version
    [ -z "${PYTHON:-}" ] || tried=("$PYTHON")
    for PYTHON in "${tried[@]}" ''; do
        ! version=$(version_of "$PYTHON") || break
    done
    [ -n "$PYTHON" ] ||
        die "no Python 3.10 to 3.13 that can make virtual environments" \
            "(tried: ${tried[*]}). Debian and Ubuntu:" \
            "  apt install python3 python3-venv" \
            "or 'uv python install 3.12', or 'pyenv install 3.12'; or name" \
            "one that you have: make PYTHON=/path/to/python3.12 ..."
    if [ -e "$PY" ] && [ "$version" != "$(version_of "$PY")" ]; then
        die "$VENV is of another Python than '$PYTHON' ($version);" \
            "to start over: rm -r $VENV"
    fi
}

check_compiler() {
    local headers
    headers=$("$PYTHON" -c \
        'import sysconfig; print(sysconfig.get_path("include"))')
    "${CXX:-c++}" -std=c++17 -fsyntax-only -I"$headers" -x c++ - \
        <<<'#include <Python.h>' 2>/dev/null ||
        die "'${CXX:-c++}' cannot compile C++17 with Python's headers, which" \
            "mmcv's operators need. Debian and Ubuntu:" \
            "  apt install g++ python3-dev" \
            "or name a compiler: make CXX=/path/to/g++ ..."
}

install_venv() {
    { "$PY" -m pip --version || "$PYTHON" -m venv "$VENV"; } &&
        pip_install -U pip setuptools wheel
}

# pip may have its own mmcv: one made without the operators, or for
# another torch. Only an import tells.
install_mmcv() {
    pip_install torch numpy ninja psutil cython || return
    compile_mmcv && "$PY" -c 'import mmcv.ops' && return
    "$PY" -m pip uninstall -y mmcv
    "$PY" -m pip cache remove mmcv
    compile_mmcv && "$PY" -c 'import mmcv.ops'
}

compile_mmcv() (
    export MMCV_WITH_OPS=1
    export MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}
    # A GPU without the CUDA toolkit: build the CPU operators alone.
    "$PY" -c 'import sys; from torch.utils.cpp_extension import CUDA_HOME
sys.exit(CUDA_HOME is None)' || export CUDA_VISIBLE_DEVICES=
    pip_install -v --no-build-isolation mmcv
)

# What older builds left is removed because setuptools packs it.
install_package() {
    rm -rf build mmpose_ext.egg-info &&
        pip_install --no-build-isolation ".[$EXTRA]" &&
        rm -rf build mmpose_ext.egg-info &&
        "$PY" -c 'import cv2, mmcv, torch'
}

install_deploy() {
    pip_install -r requirements/deploy.txt &&
        "$PY" -c 'import nncf, onnx, onnxruntime, onnxscript, openvino'
}

install_tests() {
    pip_install -r requirements/tests.txt
}

if [ ! -e "$VENV/.done-venv" ] || [ -n "${PYTHON:-}" ]; then
    check_python
elif ! "$PY" -c ''; then
    die "$VENV does not work any more; to start over: rm -r $VENV"
fi
PYTHON=${PYTHON:-$PY}

kind=$(cat "$VENV/.kind" 2>/dev/null) || true
# A .venv that was made by hand may hold a compiled mmcv, too.
if [ -z "$kind" ] && compgen -G "$VENV/lib/python*/site-packages/mmcv/_ext*" \
    >/dev/null; then
    kind=compiled
fi
MMCV=${MMCV:-${kind:-lite}}
case $MMCV in
lite) EXTRA=all ;;
compiled)
    EXTRA=compiled
    # The wheels of xtcocotools are built against numpy 1.
    PINS=("numpy<2; python_version < '3.12'")
    [ -n "$kind" ] || check_compiler
    ;;
*) die "MMCV is lite or compiled, not '$MMCV'" ;;
esac
[ "${kind:-$MMCV}" = "$MMCV" ] ||
    die "$VENV is of the kind MMCV=$kind, not $MMCV; to start over: rm -r $VENV"

mkdir -p "$VENV"
echo "$MMCV" >"$VENV/.kind"
stack=$(checksum requirements/constraints.txt)
step venv "$stack" "Creating $VENV" install_venv
for name in "$@"; do
    case $name in
    package)
        [ "$MMCV" = lite ] || step mmcv "$stack" \
            'Compiling mmcv (the first time 7-10 min on 2 cores)' install_mmcv
        step package "$stack$(checksum mmpose_ext configs tools demo setup.py \
            model-index.yml README.md requirements/*.txt \
            requirements/stand-ins/*/pyproject.toml)" \
            'Installing mmpose_ext and all it needs' install_package
        ;;
    deploy)
        step deploy "$stack$(checksum requirements/deploy.txt)" \
            'Installing ONNX Runtime and OpenVINO' install_deploy
        ;;
    tests)
        step tests "$stack$(checksum requirements/tests.txt)" \
            'Installing the test tools' install_tests
        ;;
    *) die "no step '$name' (package deploy tests)" ;;
    esac
done
