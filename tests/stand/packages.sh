#!/bin/sh
# Installs the Debian packages that the demo and the tests need and that are missing, by apt-get as root or with sudo.
#
#   packages.sh           check and install
#   packages.sh tests     the same for the tests: a browser, network namespaces, a pooler, proxies, locales, clocks
#   packages.sh matrix    the same for `make matrix`, which builds a root of another Debian release
#   packages.sh python    print a Python that can make the virtual environment
#   packages.sh install PACKAGE...    the part that needs root
#
# No service of an installed package is started: Debian would run Kamailio on 5060 and PostgreSQL on 5432.
set -eu

PATH=$PATH:/usr/sbin:/sbin
POLICY=/usr/sbin/policy-rc.d # Debian policy, 9.3.3.1: exit status 101 forbids starting a service

complain() {
	echo "setup: $*" >&2
	exit 1
}

has_python() { # of a supported version
	"$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null
}

find_python() {
	for candidate in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
		if has_python "$candidate" && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

has_kamailio_module() {
	for directory in /usr/lib/*/kamailio/modules /usr/lib*/kamailio/modules /usr/local/lib*/kamailio/modules; do
		if [ -e "$directory/$1.so" ]; then
			return
		fi
	done
	return 1
}

has_postgresql() {
	for program in /usr/lib/postgresql/*/bin/postgres; do
		if [ -x "$program" ]; then
			return
		fi
	done
	command -v postgres >/dev/null
}

list_missing() {
	command -v kamailio >/dev/null || echo kamailio
	has_kamailio_module db_postgres || echo kamailio-postgres-modules
	has_kamailio_module websocket || echo kamailio-websocket-modules
	has_postgresql || echo postgresql
	command -v psql >/dev/null || echo postgresql-client
	command -v curl >/dev/null || echo curl
	command -v systemd-analyze >/dev/null || echo systemd
	command -v setpriv >/dev/null && command -v flock >/dev/null || echo util-linux
	if ! find_python >/dev/null; then
		command -v python3 >/dev/null || echo python3
		echo python3-venv
	fi
}

list_missing_for_tests() {
	command -v ip >/dev/null || echo iproute2
	command -v pgbouncer >/dev/null || echo pgbouncer
	command -v nginx >/dev/null || echo nginx
	command -v haproxy >/dev/null || echo haproxy
	command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null ||
		command -v google-chrome >/dev/null || echo chromium-headless-shell
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || echo libfaketime # see tests/stand/clock.py
	[ -e /usr/share/i18n/locales/de_DE ] || echo locales # for a PostgreSQL with German messages
}

list_missing_for_matrix() {
	command -v mmdebstrap >/dev/null || echo mmdebstrap
}

install_packages() { # needs root
	if [ ! -e "$POLICY" ]; then
		trap 'rm -f "$POLICY"' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		printf '#!/bin/sh\nexit 101\n' >"$POLICY"
		chmod 755 "$POLICY"
	fi
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	{
		apt-get -qq update && apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends -y "$@" || echo failed
	} 2>&1 | tee "$log" | sed -n 's/^Setting up \([^ ]*\).*/  \1/p'
	if [ "$(tail -n 1 "$log")" = failed ]; then
		cat "$log" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
	if [ -d /run/systemd/system ]; then
		echo "setup: at the next boot Debian starts its own kamailio (port 5060) and postgresql (port 5432);" \
			"to prevent that: systemctl disable kamailio postgresql"
	fi
}

look_and_install() { # install what the given function lists as missing
	missing=$("$1" | tr '\n' ' ')
	missing=${missing% }
	if [ -n "$missing" ]; then
		command -v apt-get >/dev/null ||
			complain "apt-get is missing; install the equivalents of these Debian packages, then start again: $missing"
		by_hand="apt-get update && apt-get install --no-install-recommends $missing"
		echo "setup: installing Debian packages: $missing (their services are not started)"
		# shellcheck disable=SC2086 # one word a package
		if [ "$(id -u)" -eq 0 ]; then
			sh "$0" install $missing || complain "apt-get failed, see above; by hand: $by_hand"
		elif command -v sudo >/dev/null; then
			sudo sh "$0" install $missing || complain "apt-get failed, see above; as root: $by_hand"
		else
			complain "you are not root and sudo is missing; run as root: $by_hand"
		fi
	fi
}

require_python() {
	find_python >/dev/null || complain "Python 3.11 to 3.14 with venv is required; python3 is" \
		"$(python3 --version 2>&1 || true)"
}

case ${1-} in
'')
	look_and_install list_missing
	require_python
	;;
tests) look_and_install list_missing_for_tests ;;
matrix) look_and_install list_missing_for_matrix ;;
python) find_python || complain "Python 3.11 to 3.14 with venv is missing" ;;
install)
	shift
	install_packages "$@"
	;;
*) complain "unknown argument $1" ;;
esac
