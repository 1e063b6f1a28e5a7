#!/usr/bin/env bash
# Installs the Debian packages of the programs that are missing, and starts none of them: debian.sh PROGRAM[=PACKAGE]...
# Does nothing where there is no apt-get, or one may not use it; fails where a package cannot be had.
set -euo pipefail
missing=()
for one in "$@"; do command -v "${one%%=*}" >/dev/null || missing+=("${one#*=}"); done
if [ ${#missing[@]} = 0 ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exit 0; fi
# Debian starts what it installs, unless told not to.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
