"""Names and addresses: who is on which network under which address.  Pure.

Every testbed uses the same addresses, as each lives in network namespaces of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TestbedError

MAX_HOSTS = 8
NFS = "nfs1"
CLIENT = "client"

SVC, FT, MGMT = "svc", "ft", "mgmt"
NETS = (MGMT, SVC, FT)  # also the order of the network cards in a machine
FAULT_NETS = (SVC, FT)  # mgmt is the tool's own and is never cut
SUBNETS = {MGMT: "10.77.0", SVC: "10.77.1", FT: "10.77.2"}
KEEPER_ADDRESS = f"{SUBNETS[MGMT]}.1"
CLIENT_ADDRESS = f"{SUBNETS[SVC]}.100"


@dataclass(frozen=True)
class Member:
    """A machine (host or NFS server) or the client namespace, and its place in the networks."""

    name: str
    number: int  # last byte of its addresses
    nets: tuple[str, ...]

    def address(self, net: str) -> str:
        return f"{SUBNETS[net]}.{self.number}"

    def port(self, net: str) -> str:
        """The bridge port (a tap, or the client's veth) behind which this member is."""
        return f"{self.name}-{net}"

    def mac(self, net: str) -> str:
        return f"52:54:00:77:{NETS.index(net):02x}:{self.number:02x}"


def host(index: int) -> Member:
    return Member(f"h{index}", 10 + index, NETS)


def members(hosts: int, nfs: bool) -> dict[str, Member]:
    """All members of a testbed by name, in the order in which people list them."""
    result = {f"h{i}": host(i) for i in range(1, hosts + 1)}
    if nfs:
        result[NFS] = Member(NFS, 5, (MGMT, SVC))
    result[CLIENT] = Member(CLIENT, 100, (SVC,))
    return result


def shared_nets(a: Member, b: Member, wanted: str) -> tuple[str, ...]:
    """The networks among `wanted` (svc, ft or all) that both members are on; at least one."""
    if a.name == b.name:
        raise TestbedError(f"{a.name} and {b.name} are the same: name two different members")
    names = FAULT_NETS if wanted == "all" else (wanted,)
    both = tuple(net for net in names if net in a.nets and net in b.nets)
    if not both:
        raise TestbedError(
            f"{a.name} and {b.name} do not share network {wanted}: "
            f"{a.name} is on {'/'.join(n for n in a.nets if n != MGMT)}, "
            f"{b.name} on {'/'.join(n for n in b.nets if n != MGMT)}"
        )
    return both


def hosts_file() -> str:
    """/etc/hosts of every member.  A plain name is the service address; NAME-ft and NAME-mgmt are
    the others.  The image holds a copy (image/overlay/etc/hosts), which a test compares."""
    lines = ["127.0.0.1 localhost"]
    for member in members(MAX_HOSTS, True).values():
        for net in member.nets:
            name = member.name if net == SVC else f"{member.name}-{net}"
            lines.append(f"{member.address(net)} {name}")
    return "\n".join(lines) + "\n"
