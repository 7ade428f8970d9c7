"""Who may include whom: the room plan of docs/architecture.md, held against every #include of src/.

The build enforces the same by what each room's target links; this says it in one place, for the headers
of other projects too, and names the line that breaks it.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

# The rooms that each room may include, besides itself.
MAY_INCLUDE = {
    "base": [],
    "config": ["base"],
    "debug": ["base"],
    "pki": ["base"],
    "heartbeat": ["base"],
    "lock": ["base"],
    "replay": ["base"],
    "ftlink": ["base", "pki", "replay"],
    "vmm/memory": ["base"],
    "vmm/host": ["base"],
    "vmm/overlay": ["base", "vmm/host"],
    "vmm/kvm": ["base", "vmm/memory"],
    "vmm/boot": ["base", "vmm/memory"],
    "vmm/dev": ["base", "vmm/memory"],
    "vmm/pci": ["base", "vmm/memory"],
    "vmm/virtio": ["base", "vmm/memory", "vmm/pci"],
    "vmm/machine": ["base", "replay", "vmm/boot", "vmm/dev", "vmm/kvm", "vmm/memory", "vmm/pci", "vmm/virtio"],
    "vmm/probe": ["base", "vmm/kvm", "vmm/memory"],
    "node": ["base", "config", "debug", "replay", "vmm/boot", "vmm/host", "vmm/kvm", "vmm/machine", "vmm/memory", "vmm/overlay", "vmm/virtio"],
    "pair": ["base", "ftlink", "heartbeat", "lock", "pki", "node", "replay", "vmm/kvm", "vmm/machine", "vmm/memory"],
    "cli": ["base", "config", "debug", "ftlink", "lock", "node", "pair", "pki", "replay", "vmm/host", "vmm/kvm", "vmm/machine", "vmm/probe"],
}

# Headers that belong to few rooms, by what their name matches.
RESERVED = {
    r"linux/kvm\.h": ["vmm/kvm"],
    r"(boost/asio|asio)(/|\.hpp)": ["node", "pair", "daemon", "cli", "vmm/host"],
    r"Zydis/": ["vmm/boot", "vmm/machine"],
    r"(zlib|lzma|lz4)\.h": ["vmm/boot"],
    r"zstd\.h": ["replay", "vmm/boot", "vmm/machine"],
    r"google/protobuf/": ["ftlink", "replay", "vmm/machine"],
    r"proto/state\.pb\.h": ["vmm/machine"],
    r"proto/log\.pb\.h": ["replay"],
    r"proto/link\.pb\.h": ["ftlink"],
    r"xxhash\.h": ["ftlink", "lock", "replay", "vmm/machine", "vmm/overlay"],
    r"openssl/": ["pki"],
    r"nlohmann/|CLI/": ["cli", "daemon"],
    r"toml\+\+/": ["config"],
    r"liburing": ["vmm/host"],
}
# Single files that may include a reserved header although their room may not.
RESERVED_FILES = [r"_driver\.(h|cpp)$", r"(^|/)tls_\w+\.(h|cpp)$", r"(^|/)beat\.(h|cpp)$"]

# Only this file may name the page that KVM shares with userspace.
KVM_RUN = re.compile(r"\bkvm_run\b(?!_page)")
KVM_RUN_FILES = ["vmm/kvm/vcpu.cpp", "vmm/kvm/vcpu.h"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"//.*$")


@dataclass(frozen=True)
class Breach:
    """One line of one file that the plan forbids."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def room_of(path: str) -> str | None:
    """The room that `path`, relative to src/, lies in: the longest one that is its folder."""
    rooms = [room for room in MAY_INCLUDE if path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def breach_of_include(room: str, file: str, quote: str, header: str) -> str | None:
    """What is wrong with `header` in `file` of `room`, or None."""
    if quote == '"':
        target = room_of(header)
        if target is None:
            return f'"{header}" is in no room (write the path from src/)'
        if target != room and target not in MAY_INCLUDE[room]:
            return f"room {room} may not include room {target}"
    for pattern, rooms in RESERVED.items():
        allowed = room in rooms or any(re.search(name, file) for name in RESERVED_FILES)
        if re.match(pattern, header) and not allowed:
            return f"<{header}> is for {', '.join(rooms)} alone"
    return None


def breaches_of_file(source: Path, file: str) -> list[Breach]:
    room = room_of(file)
    if room is None:
        return [Breach(file, 1, "lies in no room: give its room a line in MAY_INCLUDE")]
    breaches = []
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if match := INCLUDE.match(line):
            if what := breach_of_include(room, file, *match.groups()):
                breaches.append(Breach(file, number, what))
        elif KVM_RUN.search(COMMENT.sub("", line)) and file not in KVM_RUN_FILES:
            breaches.append(Breach(file, number, "struct kvm_run is vmm/kvm/vcpu.cpp's alone"))
    return breaches


def find_breaches(src: Path) -> list[Breach]:
    """Every breach of the plan below `src`."""
    sources = sorted(path for end in ("h", "cpp") for path in src.rglob(f"*.{end}"))
    return [breach for path in sources
            for breach in breaches_of_file(path, path.relative_to(src).as_posix())]


if __name__ == "__main__":
    found = find_breaches(Path(__file__).resolve().parents[2] / "src")
    print("\n".join(map(str, found)) or "every include keeps to the room plan")
    sys.exit(1 if found else 0)
