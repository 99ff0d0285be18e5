# Sourced by the scripts beside it: a supported Python, and an environment made by it.
#
# find_python [OLDEST]  sets $python to an interpreter that will do, or ends with what is missing
# make_environment DIR  makes the environment DIR with it, unless there is a sound one

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Prints nothing for an interpreter that will do, else the reason why not.
reject() {
    local version
    command -v "$1" >/dev/null 2>&1 || { echo "not found"; return; }
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        { echo "does not run"; return; }
    case " $supported " in
        *" $version "*) ;;
        *) echo "is Python $version"; return ;;
    esac
    "$1" -c 'import venv, ensurepip' 2>/dev/null ||
        { echo "has no venv or ensurepip (on Debian and Ubuntu: python$version-venv)"; return; }
    "$1" -c 'import ctypes, ssl, zlib' 2>/dev/null || echo "was built without ctypes, ssl or zlib"
}

find_python() {
    local tool order=-rV reasons= candidates=() candidate reason version
    for tool in sed sort tr; do
        command -v "$tool" >/dev/null 2>&1 || die "the command '$tool' is missing"
    done
    if [ "${1:-}" = oldest ]; then order=-V; fi
    supported=$(sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml |
        sort "$order" | tr '\n' ' ')
    if [ -n "${PYTHON:-}" ]; then
        candidates=("$PYTHON")
    else
        for version in $supported; do candidates+=("python$version"); done
        candidates+=(python3 python)
    fi
    python=
    for candidate in "${candidates[@]}"; do
        reason=$(reject "$candidate")
        if [ -z "$reason" ]; then python=$candidate; return; fi
        reasons+=$'\n'"  $candidate: $reason"
    done
    die "no supported Python: one of ${supported}with venv and ensurepip is needed.$reasons"
}

# The same interpreter, or nothing: what an environment is made of, and whether its pip works.
sound() {
    local identity='import sys, sysconfig; print(sys.version, sysconfig.get_config_var("installed_base"))'
    [ -x "$1/bin/python" ] &&
        [ "$("$1/bin/python" -c "$identity" 2>/dev/null)" = "$("$python" -c "$identity")" ] &&
        "$1/bin/python" -m pip --version >/dev/null 2>&1
}

make_environment() {
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    sound "$1" && return
    rm -rf "$1"
    "$python" -m venv "$1"
}
