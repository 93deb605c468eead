#!/bin/sh
# Says in one line what the machine lacks for "make setup". Usage: check_setup.sh PYTHON [FOLDER]
python=${1:-python3}
folder=${2:-.}
needed=4000000  # kilobytes: .venv takes 3.2 GB, and pip unpacks beside it

fail() {
    echo "make setup: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no $python; install Python 3.10 or newer, or name another one: make setup PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$python is older than 3.10; name a newer one: make setup PYTHON=python3.12"
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "$python cannot make environments; install venv (Debian, Ubuntu: apt install python3-venv)"

compiler=
for name in ${CXX:+"${CXX%% *}"} c++ g++ clang++; do
    if command -v "$name" >/dev/null 2>&1; then compiler=$name; fi
done
[ -n "$compiler" ] ||
    fail "there is no C++ compiler, which pydensecrf2 needs; install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install)"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
[ -f "$header" ] ||
    fail "the headers of $python are missing, which pydensecrf2 needs; install them (Debian, Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel)"

free=$(df -Pk "$folder" | awk 'END { print $4 }')
[ "$free" -ge "$needed" ] ||
    fail "the disk of this folder has $((free / 1000)) MB left, but the environment takes 4000 MB; free some space"
