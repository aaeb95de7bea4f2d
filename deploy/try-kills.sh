#!/bin/sh
# `sh deploy/try-kills.sh [SERVICE...]`: while the demo buys on the running system in containers, kills each
# container in turn and starts it again a second later. Ends with status 0 only if every demo ends with a
# clean audit. Docker takes a `docker kill` for a wish and restarts nothing, unlike after a crash; hence the
# start.
set -eu
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then compose='docker compose'; else compose=docker-compose; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || set -- postgres rabbitmq order inventory envoy

status=0
for service in "$@"; do
  for id in $($compose ps -q "$service"); do
    name=$(docker inspect -f '{{.Name}}' "$id")
    $compose run --rm --no-deps -T demo >"$log" 2>&1 &
    demo=$!
    # Into another chapter of the story each time.
    until grep -q ready "$log" || ! kill -0 "$demo" 2>/dev/null; do sleep 0.1; done
    sleep "$(awk 'BEGIN { srand(); print 6 * rand() }')"
    docker kill "$id" >/dev/null
    sleep 1
    docker start "$id" >/dev/null
    if wait "$demo"; then
      printf 'ok      %s killed\n' "${name#/}"
      grep -E 'sent again|All .* right' "$log"
    else
      printf 'failed  %s killed\n' "${name#/}"
      cat "$log"
      status=1
    fi
    until [ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ]; do sleep 1; done
  done
done
exit $status
