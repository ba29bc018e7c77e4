#!/bin/sh
# Installs Debian's postgresql for the tests, and starts no service. Needs root.
set -eu
exec 9>"${TMPDIR:-/tmp}/headgate-install-postgres.lock"
flock 9
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0

# Asked by packages whether their service may start; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

install() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 \
    install -y --no-install-recommends postgresql
}
install || {
  apt-get -qq update
  install
}
