#!/bin/sh
# Installs Debian's redis-server for the tests, and starts no service. Needs root.
set -eu
exec 9>"${TMPDIR:-/tmp}/headgate-install-redis.lock"
flock 9
command -v redis-server >/dev/null && exit 0

# Asked by packages whether their service may start; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

install() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 \
    install -y --no-install-recommends redis-server
}
install || {
  apt-get -qq update
  install
}
