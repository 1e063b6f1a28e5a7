#!/usr/bin/env bash
# Makes the environments of the client tests: setup.sh [DIR], by default .clients at the top of the checkout.
# Needs Python 3.11 or newer with pip, npm for the Node clients, and the package indexes. PYTHON=... chooses the
# interpreter. What is already installed stays as it is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-$here/../../.clients}
python=${PYTHON:-$(command -v python3.11 || command -v python3 || command -v python)}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

environment() {
    [ -x "$dir/$1/bin/python" ] || "$python" -m venv "$dir/$1"
    "$dir/$1/bin/pip" install -q -r "$here/$2"
}
environment native requirements.txt
environment frameworks requirements-frameworks.txt

if command -v npm >/dev/null; then
    mkdir -p "$dir/node"
    cp "$here/node/package.json" "$dir/node/"
    (cd "$dir/node" && npm install --no-package-lock --no-audit --no-fund --silent)
else
    echo "npm is not installed: the tests of the Node clients will be skipped" >&2
fi
