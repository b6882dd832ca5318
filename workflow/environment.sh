#!/bin/sh
# Find a Python that is new enough and let it run workflow/environment.py.
# usage: workflow/environment.sh [cpu|cuda13]      PYTHON=/path/to/python chooses the Python.
# Its options -E and -s keep out what a user has set for other Pythons.
cd "$(dirname "$0")/.." || exit 1
unset __PYVENV_LAUNCHER__
accelerator=$1
found=""

try() {
    version=$("$1" -E -s -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || return
    case $version in
    3.1[1-9].* | 3.[2-9][0-9].*)
        "$1" -E -s -c 'import ensurepip, venv' 2>/dev/null && exec "$1" -E -s workflow/environment.py "$accelerator"
        found="$found $1 is $version without ensurepip (on Debian and Ubuntu: apt install python3-venv);"
        ;;
    *) found="$found $1 is $version;" ;;
    esac
}

if [ -n "$PYTHON" ]; then
    try "$PYTHON"
else
    for name in python3 python3.13 python3.12 python3.11; do
        try "$name"
    done
fi
echo "make env: expected Python 3.11 or newer, got:${found:- none that runs;} install one," \
    "or name it: make env PYTHON=/path/to/python3.12" >&2
exit 2
