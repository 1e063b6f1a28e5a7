#!/usr/bin/env bash
# Makes the environment of the deploy tests: setup.sh [DIR], by default .deploy at the top of the checkout. Needs Python
# 3.11 or newer with pip, and a package index. PYTHON=... chooses the interpreter. As root it also installs Debian's
# Caddy and Prometheus, where there is apt-get. What is already installed stays as it is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-$here/../../.deploy}
python=${PYTHON:-$(command -v python3.11 || command -v python3 || command -v python)}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

[ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
"$dir/bin/pip" install -q -r "$here/requirements.txt"

bash "$here/../debian.sh" caddy promtool=prometheus
