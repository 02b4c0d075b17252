#!/usr/bin/env bash
# Sets up .venv, one step per argument: venv torch mmcv openmmlab package
# deploy tests. `make demo` and `make test` call it; PYTHON names the
# interpreter.
#
# A step leaves a stamp in .venv, with the checksum of what it was made from,
# once it is seen to work. Finished steps are skipped, interrupted ones are run
# again. All installs go through constraints.txt, for no later step to move
# numpy, opencv or setuptools.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3.11}
VENV=.venv
LOG=$VENV/install.log
PY=$VENV/bin/python
ticker=

die() { # one argument per line
    printf 'error: ' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

pip_install() {
    "$PY" -m pip install -c requirements/constraints.txt "$@"
}

checksum() { # of files and folders: names and contents
    find "$@" -type f ! -name '*.pyc' -exec cksum {} + | sort | cksum
}

tick() { # seconds passed, and the compiler's own count where there is one
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        local count
        count=$(tail -n 50 "$LOG" | grep -Eo '^ *\[[0-9]+/[0-9]+\]' |
            tail -n 1) || true
        printf '\r%s ... %d s%s ' "$1" "$SECONDS" "${count:+,$count}"
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

# What the machine itself must have: told before anything is downloaded.
check_python() {
    local version
    version=$(python_version "$PYTHON") ||
        die "no working '$PYTHON' on this machine; the pinned packages are" \
            "tested with Python 3.11. Debian and Ubuntu:" \
            "  apt install python3.11 python3.11-venv python3.11-dev" \
            "or 'uv python install 3.11', or 'pyenv install 3.11'; or name" \
            "one that you have: make PYTHON=/path/to/python3.11 ..."
    case $version in
    3.11) ;;
    3.10 | 3.12) echo "Note: Python $version; 3.11 is the tested one." ;;
    *) die "'$PYTHON' is Python $version; the pinned packages need 3.11" \
        "(3.10 and 3.12 are untested): make PYTHON=/path/to/python3.11 ..." ;;
    esac
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "'$PYTHON' cannot make virtual environments. Debian and" \
            "Ubuntu: apt install python$version-venv"
    if [ -e "$PY" ] && [ "$version" != "$(python_version "$PY")" ]; then
        die "$VENV is of another Python than '$PYTHON' ($version);" \
            "to start over: rm -r $VENV"
    fi
}

python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

check_compiler() {
    local python=$PYTHON headers
    [ ! -e "$PY" ] || python=$PY
    headers=$("$python" -c \
        'import sysconfig; print(sysconfig.get_path("include"))')
    "${CXX:-c++}" -std=c++17 -fsyntax-only -I"$headers" -x c++ - \
        <<<'#include <Python.h>' 2>/dev/null ||
        die "'${CXX:-c++}' cannot compile C++17 with Python's headers, which" \
            "mmcv's operators need. Debian and Ubuntu:" \
            "  apt install g++ python3.11-dev" \
            "or name a compiler: make CXX=/path/to/g++ ..."
}

install_venv() {
    "$PYTHON" -m venv "$VENV" && pip_install -U pip setuptools wheel
}

install_torch() {
    pip_install torch numpy ninja psutil cython &&
        "$PY" -c 'import numpy, torch'
}

# pip may have its own mmcv: one made without the operators, or for
# another torch. Only an import tells.
install_mmcv() {
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

# mmpose lists chumpy, whose build fails in pip's isolated environment.
install_openmmlab() {
    pip_install --no-build-isolation chumpy &&
        pip_install --no-build-isolation mmpose mmdet openmim &&
        "$PY" -c 'import mim, mmdet, mmpose, xtcocotools.mask'
}

# build/ is removed because setuptools packs whatever an older build left.
install_package() {
    rm -rf build mmpose_ext.egg-info &&
        pip_install --no-deps --no-build-isolation --force-reinstall . &&
        rm -rf build mmpose_ext.egg-info
}

install_deploy() {
    pip_install -r requirements/deploy.txt &&
        "$PY" -c 'import nncf, onnx, onnxruntime, onnxscript, openvino'
}

install_tests() {
    pip_install -r requirements/tests.txt
}

if [ ! -e "$VENV/.done-venv" ]; then
    check_python
elif ! "$PY" -c ''; then
    die "$VENV does not work any more; to start over: rm -r $VENV"
fi
case " $* " in
*' mmcv '*) [ -e "$VENV/.done-mmcv" ] || check_compiler ;;
esac

stack=$(checksum requirements/constraints.txt)
for name in "$@"; do
    case $name in
    venv) step venv "$stack" "Creating $VENV" install_venv ;;
    torch) step torch "$stack" 'Installing PyTorch' install_torch ;;
    mmcv)
        step mmcv "$stack" \
            'Compiling mmcv (the first time 7-10 min on 2 cores)' install_mmcv
        ;;
    openmmlab)
        step openmmlab "$stack" 'Installing MMPose, MMDetection and mim' \
            install_openmmlab
        ;;
    package)
        step package "$(checksum mmpose_ext configs tools demo setup.py \
            model-index.yml README.md requirements/runtime.txt \
            requirements/deploy.txt)" \
            'Installing mmpose_ext from this folder' install_package
        ;;
    deploy)
        step deploy "$stack$(checksum requirements/deploy.txt)" \
            'Installing ONNX Runtime and OpenVINO' install_deploy
        ;;
    tests)
        step tests "$stack$(checksum requirements/tests.txt)" \
            'Installing the test tools' install_tests
        ;;
    *) die "no step '$name' (venv torch mmcv openmmlab package deploy tests)" ;;
    esac
done
