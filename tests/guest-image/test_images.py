#!/usr/bin/env python3
"""What the guest images hold, seen by booting them with plain QEMU.  Needs root, and the images built.

The classes are named like the images; a class whose image is not built fails.
"""

from __future__ import annotations

import base64
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from agent import ConsoleAgent  # noqa: E402
from boot import ADDRESS, LIMIT_S, Guest  # noqa: E402

IMAGES = HERE.parents[1] / "build/guest-images"


class AnyImage:
    """What every image promises.  `agent` is the console on which its agent is sure to listen."""

    image: str
    guest: Guest
    agent: ConsoleAgent

    def out(self, command: str, timeout: float = LIMIT_S) -> str:
        done = self.agent.run(command, timeout)
        self.assertEqual(done.code, 0, f"{command}: {done.output}")
        return done.output.strip()

    def test_the_agent_answers_on_the_virtio_console(self) -> None:
        self.guest.hvc.ready(LIMIT_S)
        self.assertEqual(self.guest.hvc.run("echo hello; exit 7"), (7, "hello\n"))
        raw = self.guest.hvc.run(r"printf '\r\377\000'").output
        self.assertEqual(raw.encode("utf-8", "surrogateescape"), b"\r\xff\0")

    def test_its_kernel_is_debian_s_own(self) -> None:
        flavour = "-amd64" if self.image == "generic" else "-cloud-amd64"
        self.assertRegex(self.out("uname -r"), rf"^6\.1\.0-\d+{flavour}$")

    def test_the_card_has_the_address_of_the_command_line(self) -> None:
        self.assertIn(f"inet {ADDRESS}/24 ", self.out("ip addr show eth0"))
        self.assertIn("default via 10.0.2.2 ", self.out("ip route"))
        self.assertIn("inet 127.0.0.1/8 ", self.out("ip addr show lo"))

    def test_it_is_called_guest_and_has_an_entropy_source(self) -> None:
        self.assertEqual(self.out("hostname"), "guest")
        self.assertIn("virtio_rng", self.out("cat /sys/class/misc/hw_random/rng_available"))


class Quick(AnyImage, unittest.TestCase):
    image = "quick"

    @classmethod
    def setUpClass(cls) -> None:
        cls.guest = cls.enterClassContext(Guest(IMAGES / cls.image))
        cls.agent = cls.guest.serial
        cls.agent.ready(LIMIT_S)

    def test_the_agent_answers_on_the_serial_console_too(self) -> None:
        self.assertEqual(self.agent.run("echo there"), (0, "there\n"))

    def test_kernel_messages_do_not_fall_into_answers(self) -> None:
        self.assertEqual(self.agent.run("echo '<4>noise' > /dev/kmsg; echo mine"), (0, "mine\n"))

    def test_a_disk_can_be_formatted_mounted_and_read_again(self) -> None:
        self.out("mke2fs -q /dev/vda 2>&1 && mkdir /mnt && mount -t ext4 /dev/vda /mnt && echo kept > /mnt/file")
        self.assertEqual(self.out("umount /mnt && mount -t ext4 /dev/vda /mnt && cat /mnt/file"), "kept")


class QuickCommandLine(unittest.TestCase):
    """What `quick` does when its kernel command line says so."""

    def test_a_command_given_there_runs_and_can_switch_the_guest_off(self) -> None:
        command = "echo it ran; poweroff -f"
        append = f"ftvmm.run={base64.b64encode(command.encode()).decode()}"
        with Guest(IMAGES / "quick", append) as guest:
            guest.serial.wait_for("^BEGIN boot$", LIMIT_S)
            guest.serial.wait_for("^it ran$", LIMIT_S)
            guest.wait_end()

    def test_a_program_given_there_runs_and_then_the_agent_listens(self) -> None:
        with Guest(IMAGES / "quick", "ftvmm.run=/bin/uptime") as guest:
            self.assertIn("load average", guest.serial.finish("boot", LIMIT_S).output)
            guest.serial.ready(LIMIT_S)
            guest.serial.start("reboot -f")
            guest.wait_end()  # QEMU is told to end instead


class Debian(AnyImage):
    """What both Debian images promise."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.guest = cls.enterClassContext(Guest(IMAGES / cls.image))
        cls.agent = cls.guest.hvc
        cls.guest.serial.wait_for("guest login:", LIMIT_S)
        cls.agent.ready(LIMIT_S)

    def test_every_unit_came_up(self) -> None:
        self.assertEqual(self.out("systemctl is-system-running --wait; systemctl --failed --no-legend"), "running")

    def test_nothing_in_it_acts_by_itself(self) -> None:
        self.assertEqual(self.out("systemctl list-timers --no-legend"), "")
        self.assertEqual(self.out("pgrep -l 'timesyncd|chrony|ntpd|cron|apt|iperf3' || true"), "")

    def test_root_logs_in_by_key_over_the_network(self) -> None:
        done = self.guest.ssh("echo $USER@$(hostname)")
        self.assertEqual((done.returncode, done.stdout), (0, "root@guest\n"), done.stderr)

    def test_root_logs_in_by_password_on_the_serial_console(self) -> None:
        serial = self.guest.serial
        serial.send(b"root\n")
        serial.wait_for("Password:", LIMIT_S)
        serial.send(b"ftvmm\n")
        serial.wait_for(r"root@guest:~#", LIMIT_S)

    def test_the_root_disk_is_checked_at_boot_and_writable(self) -> None:
        self.assertRegex(self.out("cat /run/initramfs/fsck.log"), "guest: clean, ")
        self.assertRegex(self.out("findmnt -n -o SOURCE,FSTYPE,OPTIONS /"), r"^/dev/vda +ext4 +rw")

    def test_only_its_own_kernel_is_installed(self) -> None:
        self.assertEqual(self.out("ls /lib/modules"), self.out("uname -r"))
        self.assertEqual(self.out("ls /boot | grep -c -E '^(vmlinuz|initrd)'"), "2")
        self.assertEqual(self.out("dpkg --audit"), "")

    def test_what_tests_work_with_is_there(self) -> None:
        self.assertEqual(self.out("sqlite3 :memory: 'select 6*7'"), "42")
        self.assertEqual(self.out("python3 -c 'print(6*7)'"), "42")
        self.out("for t in iperf3 fio curl gzip busybox mke2fs make ss; do command -v $t || exit 1; done")
        program = '#include <stdio.h>\nint main(void) { puts("compiled"); }\n'
        self.out(f"printf '{program.encode('unicode_escape').decode()}' > /tmp/a.c")
        self.assertEqual(self.out("cd /tmp && gcc -O2 -o a a.c && ./a"), "compiled")


class Cloud(Debian, unittest.TestCase):
    image = "cloud"


class Generic(Debian, unittest.TestCase):
    image = "generic"


if __name__ == "__main__":
    unittest.main()
