#!/usr/bin/env bash
# A Docker engine with Compose for `make compose-test`, where there is none: as root on Debian 12 or newer, from
# Debian's packages alone. Leaves alone what is there; fails with a reason where it can do nothing.
# Where no image registry answers, the images' base is made with debootstrap, trusting what this host trusts; its
# name goes to standard output, for PYTHON_IMAGE. All else goes to standard error.
set -euo pipefail

OFFICIAL_BASE=python:3.11-slim-bookworm
OWN_BASE=airsplit-python:3.11-bookworm
STATE=${AIRSPLIT_ENGINE_STATE:-/var/lib/airsplit-engine}
PLUGINS=/usr/local/lib/docker/cli-plugins
exec 3>&1 1>&2
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin   # dockerd, debootstrap: not every root has them in PATH

say() { echo "docker/engine.sh: $*"; }
fail() { say "error: $*"; exit 1; }

require_root_on_debian() {
  [ "$(id -u)" = 0 ] && [ "$(. /etc/os-release && echo "$ID")" = debian ] \
    || fail "$1; this script installs it as root on Debian only. See https://docs.docker.com/engine/install/"
  mkdir -p "$STATE"
}

apt_install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >"$STATE/apt.log" 2>&1 \
    || { tail -n 20 "$STATE/apt.log"; fail "apt-get install $*; all of it in $STATE/apt.log"; }
}

# The mirror that apt uses here.
mirror() {
  local found
  found=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null \
    | awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /:\//) {print $i; exit}}')
  [ -n "$found" ] || fail "apt's sources name no mirror"
  echo "$found"
}

# Debian 12 has Compose 1 only; its successor's package is one static binary. It is taken out of the package, so
# that nothing of the newer release is installed here.
install_compose() {
  local apt=(-o "Dir::Etc::SourceList=$STATE/trixie.list" -o Dir::Etc::SourceParts=/dev/null
             -o "Dir::State::Lists=$STATE/lists" -o APT::Sandbox::User=root)
  local from
  from=$(mirror)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from trixie main" >"$STATE/trixie.list"
  mkdir -p "$STATE/lists/partial" "$PLUGINS"
  rm -rf "$STATE/compose" "$STATE"/docker-compose_*.deb
  apt-get "${apt[@]}" update -qq
  (cd "$STATE" && apt-get "${apt[@]}" download -qq docker-compose && dpkg -x docker-compose_*.deb compose)
  cp "$STATE/compose/usr/libexec/docker/cli-plugins/docker-compose" "$PLUGINS/"
}

start_engine() {
  # No file is inherited: whoever waits for our output's end must not wait for the engine's.
  setsid dockerd >"$STATE/dockerd.log" 2>&1 3>&- </dev/null &
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return
    sleep 1
  done
  tail -n 20 "$STATE/dockerd.log"
  fail "dockerd did not start; all it said is in $STATE/dockerd.log"
}

make_base() {
  local root=$STATE/root from
  from=$(mirror)
  command -v debootstrap >/dev/null || apt_install debootstrap
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$root" "$from" \
    >"$STATE/debootstrap.log" 2>&1 || { tail -n 20 "$STATE/debootstrap.log"; fail "debootstrap"; }
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  ln -sf python3 "$root/usr/bin/python"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/usr/lib/python3.11/EXTERNALLY-MANAGED"
  tar -C "$root" -c . | docker import \
    -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
    -c 'CMD ["python3"]' - "$OWN_BASE" >/dev/null
  rm -rf "$root"
}

if ! command -v dockerd >/dev/null && ! docker info >/dev/null 2>&1; then
  require_root_on_debian "there is no Docker engine"
  say "installing the engine"
  apt_install docker.io iptables
fi
if ! docker compose version >/dev/null 2>&1; then
  require_root_on_debian "there is no Docker Compose"
  say "installing Compose"
  install_compose
  docker compose version >/dev/null || fail "Compose was installed and does not run"
fi
if ! docker info >/dev/null 2>&1; then
  require_root_on_debian "no Docker engine answers"
  say "starting the engine"
  start_engine
fi

base=${PYTHON_IMAGE:-$OFFICIAL_BASE}
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull -q "$base" >/dev/null 2>&1; then
  [ -z "${PYTHON_IMAGE:-}" ] || fail "PYTHON_IMAGE: $base is neither here nor to be had from a registry"
  base=$OWN_BASE
  if ! docker image inspect "$base" >/dev/null 2>&1; then
    require_root_on_debian "no image registry answers with $OFFICIAL_BASE"
    say "no image registry answers: making $base with debootstrap"
    make_base
  fi
fi
say "ready: engine $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short), $base"
echo "$base" >&3
