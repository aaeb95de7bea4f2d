#!/bin/sh
# What `make compose` and its relatives do, with Docker and a shell alone: deploy/compose.sh up | demo | logs
# | down | clean Whatever goes wrong for a reason that a person can mend is told in two lines: what it is, and
# what to do.
set -eu
cd "$(dirname "$0")/.."

READY_TIMEOUT_S=120
output=$(mktemp)
trap 'rm -f "$output"' EXIT

fail() {
  printf '%s\n%s\n' "$1" "$2" >&2
  exit 1
}

# --- the engine

find_compose() {
  command -v docker >/dev/null 2>&1 || fail \
    'Docker is missing.' \
    'Install it (https://docs.docker.com/get-docker); without it, `make dev` runs the same system.'
  if ! problem=$(docker info 2>&1 >/dev/null); then
    case $problem in
    *'permission denied'*) fail \
      'Docker runs, but you may not use it.' \
      'Join its group (sudo usermod -aG docker "$USER", then log in anew), and try again.' ;;
    *) fail \
      'Docker is installed, but its engine does not answer.' \
      'Start Docker Desktop or the engine (Linux: sudo systemctl start docker), and try again.' ;;
    esac
  fi
  if docker compose version >/dev/null 2>&1; then
    compose='docker compose'
  elif docker-compose version >/dev/null 2>&1; then
    compose=docker-compose
  else
    fail 'Docker runs, but Docker Compose is missing.' \
      'Install its plugin (https://docs.docker.com/compose/install), and try again.'
  fi
}

# quietly WHAT COMMAND...: runs it; what it says is shown only if it fails for a reason of which nothing is
# known.
quietly() {
  what=$1
  shift
  "$@" >"$output" 2>&1 || explain "$what"
}

explain() {
  if grep -qi 'no space left on device' "$output"; then disk_is_full; fi
  if grep -qiE 'port is already allocated|address already in use|ports are not available' "$output"; then
    port_is_taken
  fi
  if grep -qiE 'self.signed certificate|SELF_SIGNED|UNABLE_TO_GET_ISSUER' "$output"; then
    fail 'The packages could not be fetched: a proxy shows a certificate of its own for the registry.' \
      'Give the build that certificate: NODE_EXTRA_CA_CERTS=/path/to/it.pem make compose'
  fi
  if grep -qiE 'pull access denied|toomanyrequests|EAI_AGAIN|ENOTFOUND|no such host|i/o timeout' \
    "$output"; then
    tail -n 5 "$output" >&2
    fail "$1 failed: a registry does not answer (its words are above)." \
      'See that this machine reaches the internet, and try again.'
  fi
  blame_container
  tail -n 25 "$output" >&2
  fail "$1 failed; the end of what it said is above." 'Mend what it names, and try again: nothing is lost.'
}

disk_is_full() {
  fail 'The disk on which Docker keeps its images and data is full.' \
    'Make room (docker system df shows what takes it, docker system prune removes what is unused).'
}

port_is_taken() {
  fail "Port $port on $bind is taken by another program." \
    "End that program, or choose another port: HOLDFAST_PORT=$((port + 1000)) make compose"
}

# If a container did not come up, shows its last words and names it.
blame_container() {
  for id in $($compose ps -a -q 2>/dev/null || $compose ps -q); do
    state=$(docker inspect -f \
      '{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$id")
    case $state in
    'exited 0 '* | 'running 0 healthy' | 'running 0 ' | 'created '* | 'running 0 starting') continue ;;
    esac
    name=$(docker inspect -f '{{index .Config.Labels "com.docker.compose.service"}}' "$id")
    docker logs --tail 15 "$id" >"$output" 2>&1
    if grep -qi 'no space left on device' "$output"; then disk_is_full; fi
    if grep -qi 'password authentication failed' "$output"; then
      fail 'The data were made under other passwords than those in .env.' \
        'Bring the old .env back, or begin with empty data: make compose-clean compose'
    fi
    cat "$output" >&2
    fail "The container of $name did not come up; its last words are above." \
      'Mend what they name, and try again: the data are kept. `make compose-logs` shows all of them.'
  done
}

# --- settings

# setting NAME STANDARD: from the environment, else from .env, else the standard.
setting() {
  eval "value=\${$1:-}"
  if [ -z "$value" ] && [ -f .env ]; then value=$(sed -n "s/^$1=//p" .env | tail -n 1); fi
  printf '%s' "${value:-$2}"
}

count() {
  value=$(setting "$1" 1)
  case $value in
  [1-9]) printf '%s' "$value" ;;
  *) fail "$1 is \"$value\"." 'Give a whole number from 1 to 9, or leave it out for 1.' ;;
  esac
}

read_settings() {
  port=$(setting HOLDFAST_PORT 8080)
  bind=$(setting HOLDFAST_BIND 127.0.0.1)
  case $port in
  '' | *[!0-9]*) fail "HOLDFAST_PORT is \"$port\"." 'Give the number of a port, or leave it out for 8080.' ;;
  esac
}

# Makes each password that compose.yaml asks for and .env lacks. One that is there stays for ever: the data
# know it.
make_passwords() {
  umask 077
  touch .env
  chmod go= .env
  if [ -n "$(tail -c 1 .env)" ]; then echo >>.env; fi
  for name in $(sed -n 's/^[^#]*\${\([A-Z_]*PASSWORD\):?.*/\1/p' compose.yaml | sort -u); do
    if grep -q "^$name=." .env; then
      grep -Eq "^$name=[A-Za-z0-9._~-]+\$" .env || fail \
        "$name in .env has a character that has a meaning in a URL." \
        'Take letters, digits and . _ ~ - only, and set the same one at the server that has it.'
      continue
    fi
    printf '%s=%s\n' "$name" "$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')" >>.env
  done
}

# What a proxy shows instead of the registry's certificate, for the build alone.
take_certificates() {
  extra=${NODE_EXTRA_CA_CERTS:-}
  copy=deploy/certificates/extra.pem
  if [ -z "$extra" ] || [ ! -f "$extra" ]; then rm -f "$copy"; return; fi
  cmp -s "$extra" "$copy" || cp "$extra" "$copy"
}

# --- what is asked for

build() {
  take_certificates
  HOLDFAST_REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  export HOLDFAST_REVISION
  say "building $* (minutes the first time, then seconds)"
  quietly 'The build' $compose build "$@"
}

say() { printf '  %s\n' "$*"; }

container_of() { $compose ps -q "$1" 2>/dev/null | head -n 1; }

health_of() {
  docker inspect -f '{{if .State.Running}}{{.State.Health.Status}}{{else}}stopped{{end}}' \
    "$(container_of "$1")" 2>/dev/null || echo missing
}

# The engine is asked to publish the port, so that a taken one is known before anything has started.
check_port() {
  own=$($compose port envoy 8080 2>/dev/null || true)
  case $own in *":$port") return ;; esac
  quietly 'Taking the port' docker run --rm --network bridge --entrypoint true -p "$bind:$port:1" "$image"
}

up() {
  order=$(count ORDER)
  inventory=$(count INVENTORY)
  image=$(sed -n 's/^ *image: *\(holdfast:.*\)/\1/p' compose.yaml | head -n 1)
  make_passwords
  # Containers read them as users of their own.
  chmod a+r deploy/postgres.conf deploy/databases.sh deploy/rabbitmq.conf
  build order envoy
  check_port
  say 'starting Postgres and RabbitMQ, then the services, then the gateway'
  quietly 'The start' $compose up -d --no-build --remove-orphans \
    --scale "order=$order" --scale "inventory=$inventory"
  tries=0
  until [ "$(health_of envoy)" = healthy ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt "$READY_TIMEOUT_S" ]; then
      blame_container
      fail "All containers run, but the gateway did not become healthy within $READY_TIMEOUT_S s." \
        '`make compose-logs` shows what they say.'
    fi
    sleep 1
  done
  echo "Holdfast is ready: http://$bind:$port"
  echo 'Next: `make compose-demo` shows what it does; `make compose-down` stops it and keeps its data.'
}

demo() {
  [ "$(health_of envoy)" = healthy ] ||
    fail 'The system does not run in containers now.' 'Start it: make compose'
  build demo
  terminal=-T
  if [ -t 0 ] && [ -t 1 ]; then terminal=; fi
  $compose run --rm --no-deps $terminal demo
}

clean() {
  $compose down --volumes --remove-orphans
  # An image that was never built is not missed.
  for image in $(sed -n 's/^ *image: *\(holdfast.*\)/\1/p' compose.yaml | sort -u); do
    docker image rm "$image" >/dev/null 2>&1 || true
  done
}

find_compose
read_settings
case ${1:-} in
up) up ;;
demo) demo ;;
logs) make_passwords && exec $compose logs --follow --tail=100 ;;
down) make_passwords && $compose down --remove-orphans ;;
clean) make_passwords && clean ;;
*) fail "\"${1:-}\" is not known." 'Say one of: up, demo, logs, down, clean.' ;;
esac
