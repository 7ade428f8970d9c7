"""The command line: verbs, options, and numbers that make sense.  Pure."""

from __future__ import annotations

import argparse

from .errors import TestbedError
from .plan import MAX_HOSTS

DEFAULT_HOSTS = 3
DEFAULT_MEMORY_MIB = 2048
MAX_DELAY_MS = 60_000


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str):
        raise TestbedError(f"{message} (see `testbed --help`)")


def _number(text: str, kind, low: float, high: float, what: str):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise argparse.ArgumentTypeError(f"'{text}' is no {what}: use {low:g} to {high:g}")
    return value


def hosts(text: str) -> int:
    return _number(text, int, 0, MAX_HOSTS, "number of hosts")


def memory(text: str) -> int:
    return _number(text, int, 512, 65536, "size in MiB")


def cpus(text: str) -> int:
    return _number(text, int, 1, 16, "number of CPUs")


def pid(text: str) -> int:
    return _number(text, int, 1, 1 << 22, "process id")


def milliseconds(text: str) -> float:
    return _number(text, float, 0, MAX_DELAY_MS, "delay in milliseconds")


def permille(text: str) -> int:
    return round(_number(text, float, 0, 100, "loss in percent") * 10)


def parser() -> Parser:
    p = Parser(prog="testbed", description="Real hosts on one machine, for ftvmm.  See docs/testbed.md.")
    p.add_argument("--instance", help="which testbed (default: FTVMM_TESTBED, else the checkout's own)")
    verbs = p.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text)

    verb("build", "make the host image unless it is there")
    up = verb("up", "bring the testbed up and wait until every host is ready")
    up.add_argument("--hosts", type=hosts, default=DEFAULT_HOSTS, metavar="N")
    up.add_argument("--nfs", action=argparse.BooleanOptionalAction, default=True)
    up.add_argument("--memory", type=memory, default=DEFAULT_MEMORY_MIB, metavar="MIB", help="per host")
    up.add_argument("--cpus", type=cpus, metavar="N", help="per host (default: 1 when emulated, see docs/testbed.md)")
    up.add_argument("--owner", type=pid, metavar="PID", help="take it down when this process ends")
    up.add_argument("--reuse", action="store_true", help="accept a running one of the same shape")

    run = verb("run", "run a command on a host or on client")
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD...")
    push = verb("push", "copy files and folders to a host (or client)")
    push.add_argument("host")
    push.add_argument("files", nargs="+", metavar="FILE... [DEST]")
    for name, text in {
        "kill": "power loss: the host's QEMU is killed",
        "pause": "freeze a host; its clock goes on",
        "resume": "let a frozen host go on",
        "start": "boot a host that is down",
        "shell": "a shell on a host or on client",
    }.items():
        verb(name, text).add_argument("host")

    for name, text in {
        "cut": "stop all frames between two members",
        "delay": "make frames between two members late",
        "loss": "drop a share of the frames between two members",
    }.items():
        fault = verb(name, text)
        fault.add_argument("a")
        fault.add_argument("b")
        if name == "delay":
            fault.add_argument("ms", type=milliseconds, help="each way; 0 ends it")
        if name == "loss":
            fault.add_argument("permille", type=permille, metavar="percent", help="0 ends it")
        fault.add_argument("--net", choices=("svc", "ft", "all"), default="all")
        fault.add_argument("--one-way", action="store_true", help="only frames from A to B")
    heal = verb("heal", "end all faults, or those between two members")
    heal.add_argument("members", nargs="*", metavar="A B")

    bridge = verb("bridge", "put a host's svc card into a bridge br0, for the taps of guests")
    bridge.add_argument("host")
    bridge.add_argument("--remove", action="store_true", help="as it was before")

    verb("nfs-stop", "stop the NFS service: file access on hosts hangs")
    verb("nfs-start", "start the NFS service again")
    status = verb("status", "hosts, faults, storage")
    status.add_argument("--json", action="store_true")
    logs = verb("logs", "a host's serial console; `logs keeper` for the testbed's own log")
    logs.add_argument("host")
    logs.add_argument("--journal", action="store_true", help="the systemd journal of this boot")
    verb("down", "end the testbed; nothing is left but the image")
    return p


def parse(argv: list[str]) -> argparse.Namespace:
    """Raises TestbedError for anything that makes no sense by itself."""
    options = parser().parse_args(argv)
    if options.verb == "run":
        if options.command[:1] == ["--"]:
            options.command = options.command[1:]
        if not options.command:
            raise TestbedError("nothing to run: `testbed run HOST -- COMMAND...`")
    if options.verb == "heal" and len(options.members) not in (0, 2):
        raise TestbedError("heal takes two members, or none to end every fault")
    return options
