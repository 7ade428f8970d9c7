#!/usr/bin/env python3
"""`ftvmm run` that cannot start, that is ended by force, and the terminal it leaves behind.

Needs root and image `quick`.  Every refusal is one line, exit code 1, and at once.
"""

from __future__ import annotations

import base64
import shlex
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire  # noqa: E402
from vm import FTVMM, IMAGES, LIMIT_S, Vm, drop_bridge, use_bridge  # noqa: E402

FOLDER = "/run/refused"
SECONDS = 15  # for a start that is refused, on a busy machine

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "1", "--no-nfs")
    unittest.addModuleCleanup(tb.release)
    use_bridge(tb, "h1")
    unittest.addModuleCleanup(drop_bridge, tb, "h1")
    tb.out("h1", f"mkdir -p {FOLDER} && cd {FOLDER} && truncate -s 100M big && truncate -s 16M disk && "
                 f"head -c 300000 {IMAGES}/quick/vmlinuz > short && echo 'not a kernel' > text")  # fmt: skip
    unittest.addModuleCleanup(tb.out, "h1", f"rm -rf {FOLDER}")


def toml(kernel: str = f"{IMAGES}/quick/vmlinuz", initrd: str = f"{IMAGES}/quick/initrd.img", more: str = "",
         cmdline: str = "console=ttyS0", memory: str = "128 MiB") -> str:  # fmt: skip
    return f"""name = "refused"
uuid = "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a69"
memory = "{memory}"
kernel = "{kernel}"
cmdline = "{cmdline}"
""" + (f'initrd = "{initrd}"\n' if initrd else "") + more  # fmt: skip


def disk(path: str) -> str:
    return f'[[disk]]\npath = "{path}"\n'


def nic(place: str) -> str:
    return f'[[nic]]\nmac = "52:54:00:00:00:60"\n{place}\n'


def faulting_kernel() -> bytes:
    """An ELF kernel whose first instruction, ud2 without a handler, is a triple fault."""
    address, code = 0x1000000, bytes.fromhex("0f0b")
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, address, 64, 139, 0, 64, 56, 1, 64, 3, 2)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, address, address, len(code), len(code), 1)
    names = b"\0.text\0.shstrtab\0"
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 6, address, 120, len(code), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 7, 3, 0, 0, 122, len(names), 0, 0, 1, 0)
    return header + segment + code + names + sections


class Refusals(unittest.TestCase):
    def refused(self, config: str, *hints: str, limit_s: int = SECONDS) -> None:
        tb.run("h1", "sh", "-c", f"cat > {FOLDER}/vm.toml", stdin=config)
        done = tb.run("h1", "timeout", "-s", "KILL", limit_s, FTVMM, "run", f"{FOLDER}/vm.toml", "--headless", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for hint in hints:
            self.assertIn(hint, done.stderr)

    def test_a_disk_that_is_missing(self) -> None:
        self.refused(toml(more=disk(f"{FOLDER}/none")), f"{FOLDER}/none")

    def test_a_disk_that_another_vm_writes(self) -> None:
        vm = Vm(tb, "h1", "holder", f"{FOLDER}/disk", image="quick", address="10.77.1.61", memory="128 MiB")
        self.addCleanup(vm.kill)
        vm.start()
        self.refused(toml(more=disk(f"{FOLDER}/disk")), f"{FOLDER}/disk", "another VM")
        self.refused(toml(more=disk(f"{FOLDER}/disk") + "read_only = true\n"), f"{FOLDER}/disk", "another VM")

    def test_a_tap_or_a_bridge_that_is_missing(self) -> None:
        self.refused(toml(more=nic('tap = "tap77"')), "tap77")
        self.refused(toml(more=nic('bridge = "br77"')), "br77")

    def test_an_initrd_that_memory_does_not_hold(self) -> None:
        self.refused(toml(initrd=f"{FOLDER}/big", memory="64 MiB"), "initrd", "memory")

    def test_an_initrd_that_is_missing(self) -> None:
        self.refused(toml(initrd=f"{FOLDER}/none"), f"{FOLDER}/none")

    def test_a_kernel_that_is_cut_off_or_none(self) -> None:
        for name in ("short", "text", "big", "none", "disk"):
            with self.subTest(name):
                self.refused(toml(kernel=f"{FOLDER}/{name}"), f"{FOLDER}/{name}")
        self.refused(toml(kernel="/bin/ls"), "/bin/ls")
        self.refused(toml(kernel=FOLDER), FOLDER)

    def test_a_console_socket_where_none_can_be(self) -> None:
        tb.run("h1", "sh", "-c", f"cat > {FOLDER}/vm.toml", stdin=toml())
        done = tb.run("h1", "timeout", SECONDS, FTVMM, "run", f"{FOLDER}/vm.toml", "--headless", "--console-socket",
                      "/nowhere/socket", check=False)  # fmt: skip
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("/nowhere/socket", done.stderr)

    def test_a_guest_that_resets_itself_as_soon_as_it_starts(self) -> None:
        # Not with Linux: that takes an emulated host so long to come as far as its panic that the test would take minutes.
        encoded = base64.b64encode(faulting_kernel()).decode()
        tb.out("h1", f"echo {encoded} | base64 -d > {FOLDER}/faulting")
        config = toml(kernel=f"{FOLDER}/faulting", initrd="")
        tb.run("h1", "sh", "-c", f"cat > {FOLDER}/vm.toml", stdin=config)
        done = tb.run("h1", "timeout", "-s", "KILL", 60, FTVMM, "run", f"{FOLDER}/vm.toml", "--headless", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("reset", done.stderr.splitlines()[-1])


class ByForce(unittest.TestCase):
    def test_a_second_sigterm_takes_the_power_of_a_guest_that_does_not_listen(self) -> None:
        vm = Vm(tb, "h1", "deaf", image="quick", address="10.77.1.62", memory="128 MiB")
        self.addCleanup(vm.kill)
        vm.start()
        vm.agent.ready(LIMIT_S)
        vm.signal("TERM")
        self.assertEqual(vm.out("sleep 2; echo alive"), "alive")
        vm.signal("TERM")
        self.assertEqual(vm.wait_code(20), 3, vm.log())
        self.assertIn("the guest's power was taken", vm.log())

    def test_after_the_grace_period_the_power_ends_by_itself(self) -> None:
        vm = Vm(tb, "h1", "deaf", image="quick", address="10.77.1.62", memory="128 MiB")
        self.addCleanup(vm.kill)
        vm.start("--grace", "3")
        vm.agent.ready(LIMIT_S)
        vm.signal("TERM")
        self.assertEqual(vm.wait_code(30), 3, vm.log())


class TerminalGivenBack(unittest.TestCase):
    """ftvmm on a terminal of its own, made by script(1): what stty says before, meanwhile and after."""

    def states(self, config: str, meanwhile: str = "true") -> tuple[list[str], int]:
        tb.run("h1", "sh", "-c", f"cat > {FOLDER}/vm.toml", stdin=config)
        inside = f"""
            cd {FOLDER}; rm -f before during after code
            stty -g > before
            ( {meanwhile} ) < /dev/tty &
            sh -c 'echo $$ > pid; exec "$@"' sh {FTVMM} run vm.toml --console-socket {FOLDER}/socket 2> said
            echo $? > code
            stty -g > after
            wait"""
        tb.run("h1", "timeout", LIMIT_S, "script", "-qec", f"sh -c {shlex.quote(inside)}", "/dev/null", stdin="")
        states = tb.out("h1", f"cd {FOLDER}; for f in before during after; do echo s $(cat $f); done; rm -f socket")
        return states.splitlines(), int(tb.out("h1", f"cat {FOLDER}/code"))

    def test_on_a_start_error(self) -> None:
        (before, _, after), code = self.states(toml(more=nic('bridge = "br77"')))
        self.assertEqual((after, code), (before, 1))
        (before, _, after), code = self.states(toml(kernel=f"{FOLDER}/short"))
        self.assertEqual((after, code), (before, 1))

    def test_on_a_first_and_a_second_sigterm(self) -> None:
        meanwhile = """
            until [ -S socket ]; do sleep 0.1; done; sleep 1
            stty -g > during
            pid=$(cat pid)
            kill -TERM $pid; sleep 1; kill -TERM $pid"""
        (before, during, after), code = self.states(toml(), meanwhile)
        self.assertNotEqual(during, before)
        self.assertEqual((after, code), (before, 3))

    def test_on_a_guest_that_switches_itself_off(self) -> None:
        meanwhile = "until [ -S socket ]; do sleep 0.1; done; sleep 1; stty -g > during"
        off = "cG93ZXJvZmYgLWY="  # poweroff -f
        (before, during, after), code = self.states(toml(cmdline=f"console=ttyS0 ftvmm.run={off}"), meanwhile)
        self.assertNotEqual(during, before)
        self.assertEqual((after, code), (before, 0))


if __name__ == "__main__":
    unittest.main()
