#!/bin/sh
# Holds the systemd units, as our commands print them, against systemd-analyze: no complaint, and an exposure of at most 2.0.
# Where there is no systemd-analyze it says so and is content.
#
#   units.sh DIRECTORY    of the commands, such as .venv/bin
set -eu

bin=$1
if ! command -v systemd-analyze >/dev/null; then
	echo "units: there is no systemd-analyze here, so nothing was looked at"
	exit 0
fi
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
mkdir "$units/kamailio.service.d"
"$bin/registrations-api" unit >"$units/registrations-api.service"
"$bin/registrations-sync" unit >"$units/registrations-sync.service"
"$bin/registrations-kamailio" unit >"$units/kamailio.service.d/registrations.conf"
export SYSTEMD_UNIT_PATH="$units:" # and the usual places: kamailio.service is Debian's
# An unknown setting is a complaint of its, not a failure.
if ! said=$(systemd-analyze verify --man=no "$units/registrations-api.service" "$units/registrations-sync.service" \
	kamailio.service 2>&1) || [ -n "$said" ]; then
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
