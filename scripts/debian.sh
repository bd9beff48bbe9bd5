#!/usr/bin/env bash
# What the machine itself must have. As root on Debian it is installed; elsewhere a message says what is missing.
#
#   scripts/debian.sh venv DIR   make a virtual environment with pip in DIR from $PYTHON
#   scripts/debian.sh demo       pgBackRest and the distribution's PostgreSQL for the demo, which can do without: it
#                                never fails, and says in a line what is left out
#   scripts/debian.sh test       the servers and programs that the tests run against
#   scripts/debian.sh bench      psql, a server and ripgrep for the measurements
set -euo pipefail

main() {
  case "${1-}" in
    venv) make_venv "${PYTHON:-python3}" "$2" ;;
    demo) want "$(missing_for_demo)" "pgBackRest in the demo's world" ;;
    test) need "$(missing_for_tests)" 'make test' ;;
    bench) need "$(missing_for_bench)" 'make bench' ;;
    *) sed -n '2,9p' "$0" >&2; exit 2 ;;
  esac
}

make_venv() {
  local python=$1 folder=$2
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is not Python 3.11 or newer; say PYTHON=/path/to/python3.11"
  # Debian's python3 has the venv module but not ensurepip: making the environment then fails half way.
  "$python" -c 'import venv, ensurepip' 2>/dev/null || need 'python3-venv' 'the virtual environment'
  "$python" -m venv --clear "$folder" || fail "$python could not make a virtual environment in $folder"
}

# One package a line, only those that are not there: a second run asks nobody.
missing_for_demo() {
  has_server || echo postgresql
  has pgbackrest || echo pgbackrest
}

missing_for_tests() {
  has_server || echo postgresql
  has chromium || echo chromium
  has openssl || echo openssl
  has npm || echo npm
  has softhsm2-util || echo softhsm2
  has pgbackrest || echo pgbackrest
  has restic || echo restic
  has go || echo golang-go
  [ -d /usr/share/gocode/src/golang.org/x/mod ] || echo golang-golang-x-mod-dev
}

missing_for_bench() {
  has_server || echo postgresql
  has rg || echo ripgrep
}

has() { command -v "$1" >/dev/null 2>&1; }
# A server of the distribution's, whichever major it has: `postgresql` depends on that one.
has_server() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# What would be good to have: without it a line says what is left out, and nothing fails.
want() { (without='; it is left out' need "$@") || true; }

need() {
  local packages purpose=$2
  read -r -a packages <<<"$(tr '\n' ' ' <<<"$1")"
  [ ${#packages[@]} -gt 0 ] || return 0
  has apt-get || fail "$purpose needs these programs, and this is no Debian: ${packages[*]}"
  [ "$(id -u)" = 0 ] || fail "$purpose needs Debian packages; run: sudo apt-get install ${packages[*]}"
  keep_debian_from_starting_a_cluster
  echo "installing ${packages[*]}" >&2
  install_quietly "${packages[@]}" || { apt-get update -qq && install_quietly "${packages[@]}"; } ||
    fail "apt-get could not install ${packages[*]}; install them and run again"
}

install_quietly() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>"$errors" ||
    { tail -n 3 "$errors" >&2; return 1; }
}

# The tests start their own clusters; Debian's would take a port and stay.
keep_debian_from_starting_a_cluster() {
  [ -d /usr/lib/postgresql ] && return 0
  local file=/etc/postgresql-common/createcluster.conf
  [ -e "$file" ] && return 0
  mkdir -p "${file%/*}"
  echo 'create_main_cluster = false' >"$file"
}

fail() { echo "domicile: $1${without-}" >&2; exit 1; }

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
main "$@"
