# Sourced by the scripts beside it, not run. POSIX sh.
#
# prepare EXTRAS   makes the virtual environment if there is none, installs this checkout with the given extras
#                  into it if that has not been done yet, and sets `bin` to the folder of its programs.
#
# Read from the environment:
#   PYTHON         the Python to make the virtual environment with (default: the first of python3, python3.14,
#                  ... python3.11, python that is 3.11 or newer)
#   WENGERT_VENV   the virtual environment (default: .venv in the checkout)

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

fail() {
    printf '%s: %s\n' "$(basename -- "$0")" "$1" >&2
    exit 1
}

# Run and not only looked up: a name on the path may be a version manager's stand-in for a Python that is not there.
is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is older than Python 3.11"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if is_new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3 $0"
}

make_venv() {
    base=$(find_python) || exit 1
    printf 'making the virtual environment %s\n' "$venv" >&2
    if ! output=$("$base" -m venv "$venv" 2>&1); then
        rm -rf -- "$venv"
        printf '%s\n' "$output" >&2
        fail "$base cannot make a virtual environment; on Debian and Ubuntu install python3-venv first"
    fi
}

prepare() {
    venv=${WENGERT_VENV:-$root/.venv}
    bin=$venv/bin
    [ -e "$venv" ] || make_venv
    is_new_enough "$bin/python" ||
        fail "$venv holds no working Python 3.11 or newer; remove that folder and run this again"

    # Installed again only when something that the installation depends on has changed.
    stamp=$venv/.wengert-$1
    state="$root $(cksum <"$root/pyproject.toml")"
    if [ "$(cat -- "$stamp" 2>/dev/null)" != "$state" ]; then
        printf 'installing wengert[%s] into %s\n' "$1" "$venv" >&2
        "$bin/python" -m pip --version >/dev/null 2>&1 || "$bin/python" -m ensurepip >/dev/null ||
            fail "$venv has no pip and ensurepip does not work there"
        (cd -- "$root" && "$bin/python" -m pip install --quiet --quiet --disable-pip-version-check --editable ".[$1]") ||
            fail "the installation failed, see above"
        printf '%s\n' "$state" >"$stamp"
    fi
}
