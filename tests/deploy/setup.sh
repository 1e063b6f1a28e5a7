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

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    command -v caddy >/dev/null || missing+=(caddy)
    command -v promtool >/dev/null || missing+=(prometheus)
    if [ ${#missing[@]} -gt 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # Packages start what they install; the tests start their own.
        if [ ! -e /usr/sbin/policy-rc.d ]; then
            trap "rm -f /usr/sbin/policy-rc.d" EXIT
            printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
            chmod +x /usr/sbin/policy-rc.d
        fi
        apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
fi
