#!/usr/bin/env bash
# needs.sh PROGRAM...: as root on a Debian-like system, installs the packages of the
# named programs that are missing. Elsewhere it changes nothing: whoever needs one of
# them says so by itself.
set -uo pipefail

package_of() {
	case "$1" in
	gcc) echo gcc libc6-dev ;;
	iptables-nft-restore | iptables-legacy-restore) echo iptables ;;
	nft) echo nftables ;;
	node) echo nodejs ;;
	nginx) echo nginx-light ;;
	nginx-stream) echo libnginx-mod-stream ;;
	h2load) echo nghttp2-client ;;
	*) echo "$1" ;;
	esac
}

present() {
	case "$1" in
	nginx-stream) [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=()
for program in "$@"; do
	if ! present "$program"; then
		read -ra packages <<<"$(package_of "$program")"
		missing+=("${packages[@]}")
	fi
done
if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
	echo "installing ${missing[*]}"
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "${missing[@]}" >/dev/null 2>&1 ||
		echo "could not install ${missing[*]}" >&2
fi
