# To be sourced, at the top of the repository: installs what packages.txt names and this machine lacks.
# say() tells people; $program is who needs them.

install_packages() {
    local missing=() package
    while read -r package; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done < <(sed 's/#.*//' packages.txt | awk 'NF { print $1 }')
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        echo "$program: packages are missing and only root can install them; run: apt-get install" \
            "${missing[*]}" >&2
        exit 2
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null
}
