#!/bin/sh
# Checks the systemd units that our commands print with systemd-analyze: no complaint, and an exposure of at most 2.0.
# Without systemd-analyze it says so and succeeds.
#
#   units.sh DIRECTORY    the directory of our commands, such as .venv/bin
set -eu

bin=$1
if ! command -v systemd-analyze >/dev/null; then
	echo "units: skipped, systemd-analyze is not installed"
	exit 0
fi
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
mkdir "$units/kamailio.service.d"
"$bin/registrations-api" unit >"$units/registrations-api.service"
"$bin/registrations-api" unit --socket >"$units/registrations-api.socket"
"$bin/registrations-sync" unit >"$units/registrations-sync.service"
"$bin/registrations-kamailio" unit >"$units/kamailio.service.d/registrations.conf"
export SYSTEMD_UNIT_PATH="$units:" # the colon adds the usual places, where Debian's kamailio.service is
# systemd-analyze warns of an unknown setting but exits with 0.
if ! said=$(systemd-analyze verify --man=no "$units/registrations-api.service" "$units/registrations-api.socket" \
	"$units/registrations-sync.service" kamailio.service 2>&1) || [ -n "$said" ]; then
	echo "$said" >&2
	exit 1
fi
for unit in registrations-api registrations-sync; do
	said=$(systemd-analyze security --offline=yes --no-pager --threshold=20 "$unit.service") || {
		echo "$said" >&2
		exit 1
	}
	echo "$said" | tail -n 1
done
