"""A bridge inside a host, so that guests there are on the service network.  Pure.

The host's own service address moves to the bridge, which takes over the card's MAC: for everyone else
nothing changes.  The testbed itself reaches hosts over mgmt, so it cannot cut itself off.
"""

from __future__ import annotations

from .plan import SVC, Member

BRIDGE = "br0"


def add_script(member: Member) -> str:
    """For sh on the host.  Puts the card into a bridge, or leaves everything as it was and fails."""
    address = f"{member.address(SVC)}/24"
    # No spanning tree, no delay before a port forwards, no snooping: a plain learning switch.
    return f"""
[ ! -e /sys/class/net/{BRIDGE} ] || exit 0
ip -batch - <<END && exit 0
link add {BRIDGE} address {member.mac(SVC)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set {BRIDGE} up
link set {SVC} master {BRIDGE}
addr del {address} dev {SVC}
addr add {address} broadcast + dev {BRIDGE}
END
ip link del {BRIDGE}
ip addr replace {address} broadcast + dev {SVC}
exit 1
"""


def remove_script(member: Member) -> str:
    """For sh on the host.  The card gets its address back; what else was in the bridge is in none."""
    return f"""
[ -e /sys/class/net/{BRIDGE} ] || exit 0
ip link del {BRIDGE} && ip addr replace {member.address(SVC)}/24 broadcast + dev {SVC}
"""
