"""The bridges, taps and the client namespace.  Runs in the keeper's own network namespace."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .errors import TestbedError
from .faults import Faults, ruleset
from .plan import CLIENT, CLIENT_ADDRESS, KEEPER_ADDRESS, MGMT, NETS, SVC, Member
from .plan import hosts_file as hosts_text

CLIENT_LINK = "svc"  # the client's end of its cable, in its own namespace


# No router solicitations and the like: a test that counts frames sees those of its own making.
NO_IPV6 = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $f ] || echo 1 > $f; done"


def bridge(net: str) -> str:
    return f"br-{net}"


def network_commands(members: dict[str, Member]) -> list[str]:
    """Lines for `ip -batch` that make the bridges and a tap per machine and network.  Pure.

    The taps outlive the QEMU on them: a dead machine is a port without carrier, as on a switch.
    """
    lines = ["link set lo up"]
    for net in NETS:
        # No spanning tree, no delay before a port forwards, no snooping: a plain learning switch.
        lines.append(
            f"link add {bridge(net)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        )
        lines.append(f"link set {bridge(net)} up")
    lines.append(f"addr add {KEEPER_ADDRESS}/24 dev {bridge(MGMT)}")
    for member in members.values():
        if member.name == CLIENT:
            continue
        for net in member.nets:
            lines.append(f"tuntap add {member.port(net)} mode tap vnet_hdr")
            lines.append(f"link set {member.port(net)} master {bridge(net)} up")
    return lines


def run_tool(args: list[str], stdin: str | None = None) -> str:
    done = subprocess.run(args, input=stdin, text=True, capture_output=True)
    if done.returncode != 0:
        why = (done.stderr or done.stdout).strip().splitlines()
        raise TestbedError(f"{args[0]} failed: {why[0] if why else done.returncode}")
    return done.stdout


def make_networks(members: dict[str, Member], hosts_file: Path) -> None:
    """Requires network and mount namespaces of one's own; `hosts_file` becomes their /etc/hosts."""
    run_tool(["sh", "-c", NO_IPV6])
    hosts_file.write_text(hosts_text())
    run_tool(["mount", "--bind", str(hosts_file), "/etc/hosts"])
    run_tool(["ip", "-batch", "-"], "\n".join(network_commands(members)) + "\n")


def make_client(members: dict[str, Member]) -> subprocess.Popen:
    """The process that holds the client's network namespace, which is linked to br-svc."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL, cwd="/"
    )
    own = os.readlink("/proc/self/ns/net")
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
        if time.monotonic() > deadline:
            raise TestbedError("the client's network namespace did not come up")
        time.sleep(0.01)
    port = members[CLIENT].port(SVC)
    run_tool(["ip", "link", "add", port, "type", "veth",
              "peer", "name", CLIENT_LINK, "netns", str(holder.pid)])  # fmt: skip
    run_tool(["ip", "link", "set", port, "master", bridge(SVC), "up"])
    run_tool(["nsenter", "-t", str(holder.pid), "-n", "sh", "-c", NO_IPV6])
    inside = f"link set lo up\naddr add {CLIENT_ADDRESS}/24 dev {CLIENT_LINK}\nlink set {CLIENT_LINK} up\n"
    run_tool(["nsenter", "-t", str(holder.pid), "-n", "ip", "-batch", "-"], inside)
    return holder


def apply_faults(faults: Faults, members: dict[str, Member]) -> None:
    """Replaces all filter rules at once."""
    run_tool(["nft", "-f", "-"], ruleset(faults, members))
