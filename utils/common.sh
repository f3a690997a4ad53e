# Sourced by the scripts of this folder: where things are, and how to say so.
MOE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MOE_BUILD=${MOE_BUILD:-$MOE_ROOT/build}
MOE_VENV=${MOE_VENV:-$MOE_BUILD/venv}
MOE_THIRD_PARTY_DIR=${MOE_THIRD_PARTY_DIR:-$MOE_BUILD/third_party}
MOE_JOBS=${MOE_JOBS:-$(nproc)}

say() { printf '[%s] %s\n' "$(basename "$0")" "$*"; }
die() { printf '[%s] error: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# pin NAME: the value of set(NAME "value") in cmake/Versions.cmake.
pin() { sed -n "s/^set($1 \"\{0,1\}\([^\"]*\)\"\{0,1\})\$/\1/p" "$MOE_ROOT/cmake/Versions.cmake"; }

# pip_pin NAME: the pinned version of a Python package.
pip_pin() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$MOE_ROOT/utils/requirements.txt"; }

# run_logged LOG WHAT COMMAND...: output goes to LOG; on failure its end is shown.
run_logged() {
  local log=$1 what=$2; shift 2
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "$what failed (all of its output: $log)"
  fi
}
