"""Cuts, losses and delays: what is in force, and the nftables text that makes it so.  Pure.

A fault belongs to a direction (network, from, to).  The bridge forwards a frame from one port to
another only past these rules, so the direction is exact: cutting h1 -> h2 leaves h2 -> h1 alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .plan import Member

TABLE = "ftvmm_faults"


@dataclass(frozen=True, order=True)
class Direction:
    """Frames on one network from the port of one member to the port of another."""

    net: str
    source: str
    target: str


@dataclass
class Faults:
    """All faults in force.  A direction may be lossy and late at once; a cut one passes nothing."""

    cuts: set[Direction] = field(default_factory=set)
    loss_permille: dict[Direction, int] = field(default_factory=dict)
    delay_ms: dict[Direction, float] = field(default_factory=dict)

    def heal(self, a: str | None, b: str | None) -> None:
        """Ends every fault, or with names given those between the two members."""
        def hit(d: Direction) -> bool:
            return a is None or {d.source, d.target} == {a, b}

        self.cuts = {d for d in self.cuts if not hit(d)}
        self.loss_permille = {d: v for d, v in self.loss_permille.items() if not hit(d)}
        self.delay_ms = {d: v for d, v in self.delay_ms.items() if not hit(d)}

    def describe(self) -> list[str]:
        """One line per fault, for people."""
        lines = [f"cut    {d.net:4} {d.source} -> {d.target}" for d in sorted(self.cuts)]
        lines += [
            f"loss   {d.net:4} {d.source} -> {d.target}  {v / 10:g}%"
            for d, v in sorted(self.loss_permille.items())
        ]
        lines += [
            f"delay  {d.net:4} {d.source} -> {d.target}  {v:g} ms"
            for d, v in sorted(self.delay_ms.items())
        ]
        return lines


def directions(a: Member, b: Member, nets: tuple[str, ...], one_way: bool) -> list[Direction]:
    """The directions that a command naming two members is about."""
    result = [Direction(net, a.name, b.name) for net in nets]
    if not one_way:
        result += [Direction(net, b.name, a.name) for net in nets]
    return result


def ruleset(faults: Faults, members: dict[str, Member]) -> str:
    """Input for `nft -f -` that replaces, in one transaction, all rules by those for `faults`.

    The bridge drops the frames of a late direction: the delay line takes them off the port itself
    and brings them over.  So cut and loss of a late direction are the delay line's to obey.
    """
    lines = [
        f"add table bridge {TABLE}",
        f"delete table bridge {TABLE}",
        f"add table bridge {TABLE}",
        f"add chain bridge {TABLE} forward {{ type filter hook forward priority 0; policy accept; }}",
    ]

    def rule(d: Direction, condition: str) -> str:
        ports = f'iifname "{members[d.source].port(d.net)}" oifname "{members[d.target].port(d.net)}"'
        return f"add rule bridge {TABLE} forward {ports} {condition}drop"

    blocked = faults.cuts | faults.delay_ms.keys()
    lines += [rule(d, "") for d in sorted(blocked)]
    lines += [
        rule(d, f"numgen random mod 1000 < {permille} ")
        for d, permille in sorted(faults.loss_permille.items())
        if d not in blocked and permille > 0
    ]
    return "\n".join(lines) + "\n"
