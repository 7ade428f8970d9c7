#!/usr/bin/env python3
"""What the verbs of a running testbed do.  Needs root and a built image.

Uses the testbed named by FTVMM_TESTBED when it is up, else brings one up and takes it down.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Testbed, acquire, wait_until  # noqa: E402

tb: Testbed


def setUpModule() -> None:
    global tb
    tb = acquire("--hosts", "3")


def tearDownModule() -> None:
    tb.release()


def average_ms(host: str, target: str, count: int = 5) -> float:
    """Mean round trip time, without the first packet, which may wait for ARP."""
    tb.run(host, "ping", "-c", 1, target)
    text = tb.run(host, "ping", "-c", count, "-i", 0.2, target).stdout
    return float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1))


def received(host: str, card: str) -> int:
    return int(tb.out(host, f"cat /sys/class/net/{card}/statistics/rx_packets"))


class RunningCommands(unittest.TestCase):
    def test_the_exit_code_of_the_command_is_passed_on(self) -> None:
        for code in (0, 1, 42, 255):
            self.assertEqual(tb.run("h1", "sh", "-c", f"exit {code}", check=False).returncode, code)
        self.assertEqual(tb.run("client", "sh", "-c", "exit 7", check=False).returncode, 7)

    def test_output_and_errors_are_kept_apart(self) -> None:
        for member in ("h1", "client"):
            done = tb.run(member, "sh", "-c", "echo out; echo err >&2")
            self.assertEqual((done.stdout, done.stderr), ("out\n", "err\n"), member)

    def test_every_word_arrives_as_it_is(self) -> None:
        words = ["a b", "", "$HOME", "it's", '"', "*", "\\", "`x`", ";", "-n", "ä", "line\nbreak"]
        for member in ("h1", "client"):
            printed = tb.run(member, "printf", "%s|", *words).stdout
            self.assertEqual(printed, "".join(word + "|" for word in words), member)

    def test_input_reaches_the_command(self) -> None:
        text = "some input\n" * 20_000
        expected = hashlib.md5(text.encode()).hexdigest()
        for member in ("h2", "client"):
            self.assertIn(expected, tb.run(member, "md5sum", stdin=text).stdout, member)

    def test_commands_run_side_by_side(self) -> None:
        # Each waits for the other's file: one after the other neither would end.
        tb.run("h1", "rm", "-f", "/tmp/side-a", "/tmp/side-b")
        script = "touch /tmp/side-{0}; until [ -e /tmp/side-{1} ]; do sleep 0.1; done"
        both = [tb.spawn("h1", "timeout", 30, "sh", "-c", script.format(*pair)) for pair in ("ab", "ba")]
        self.assertEqual([process.wait(60) for process in both], [0, 0])
        for process in both:
            process.communicate()

    def test_pushed_files_arrive_with_content_and_mode(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            script, data = Path(folder, "say"), Path(folder, "data")
            script.write_text("#!/bin/sh\necho pushed\n")
            script.chmod(0o755)
            data.write_bytes(bytes(range(256)) * 1000)
            tb.verb("push", "h1", script, data, "/tmp/pushed here/")
            tb.verb("push", "h1", data, "/tmp/renamed")
        self.assertEqual(tb.run("h1", "/tmp/pushed here/say").stdout, "pushed\n")
        expected = hashlib.md5(bytes(range(256)) * 1000).hexdigest()
        sums = tb.run("h1", "md5sum", "/tmp/pushed here/data", "/tmp/renamed").stdout
        self.assertEqual(sums.count(expected), 2)


class Hosts(unittest.TestCase):
    def test_each_host_is_what_ftvmm_needs(self) -> None:
        script = """
            set -e
            [ "$(ps -p 1 -o comm=)" = systemd ]
            [ -c /dev/kvm ]
            lsmod | grep -qE '^kvm_(amd|intel) '
            findmnt -n -o FSTYPE,OPTIONS /srv/ftvmm | grep -q 'nfs4.*vers=4.2.*hard'
            ! touch /build/probe 2>/dev/null
            [ -d /build/testbed ]
            systemctl --failed --no-legend
        """
        for host in ("h1", "h2", "h3"):
            done = tb.run(host, "sh", "-c", script, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), f"{host}: {done.stderr}")

    def test_each_host_is_a_machine_of_its_own(self) -> None:
        ids = [tb.out(host, "cat /etc/machine-id") for host in ("h1", "h2", "h3")]
        self.assertEqual(len(set(ids)), 3, ids)

    def test_kvm_loads_again_without_nested_paging(self) -> None:
        module, option = ("kvm_amd", "npt") if "kvm_amd" in tb.out("h3", "lsmod") else ("kvm_intel", "ept")
        tb.run("h3", "modprobe", "-r", module)
        tb.run("h3", "modprobe", module, f"{option}=0")
        self.assertEqual(tb.out("h3", f"cat /sys/module/{module}/parameters/{option}"), "N")
        tb.run("h3", "modprobe", "-r", module)
        tb.run("h3", "modprobe", module)
        self.assertEqual(tb.out("h3", f"cat /sys/module/{module}/parameters/{option}; ls /dev/kvm"), "Y\n/dev/kvm")

    def test_hosts_see_one_another_and_the_client_on_their_networks(self) -> None:
        for source, target in (("h1", "h2"), ("h2", "h3-ft"), ("client", "h3"), ("h3", "client"), ("h1", "nfs1")):
            self.assertTrue(tb.reachable(source, target), f"{source} -> {target}")

    def test_what_one_host_writes_to_shared_storage_another_reads(self) -> None:
        tb.out("h1", "echo from-h1 > /srv/ftvmm/greeting && sync /srv/ftvmm/greeting")
        self.assertEqual(tb.out("h2", "cat /srv/ftvmm/greeting"), "from-h1")


class PowerLoss(unittest.TestCase):
    def test_a_killed_host_is_silent_and_comes_back_with_what_it_had_synced(self) -> None:
        tb.out("h2", "echo precious > /root/synced && sync; echo gone > /dev/shm/memory")
        machine_id = tb.out("h2", "cat /etc/machine-id")
        waiting = tb.spawn("h2", "sh", "-c", "echo ready; exec sleep 300")
        self.assertEqual(waiting.stdout.readline(), "ready\n")
        tb.verb("kill", "h2")
        try:
            self.assertEqual(tb.state("h2"), "down")
            self.assertTrue(tb.silent("h1", "h2"))
            self.assertTrue(tb.silent("h1", "h2-ft"))
            self.assertTrue(tb.silent("client", "h2"))
            _, said = waiting.communicate(timeout=30)
            self.assertEqual(waiting.returncode, 255, said)
            self.assertIn("connection to h2 was lost", said)
            for verb in (["run", "h2", "--", "true"], ["kill", "h2"], ["pause", "h2"]):
                refused = tb.verb(*verb, check=False)
                self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1))
                self.assertIn("testbed start h2", refused.stderr)
        finally:
            tb.verb("start", "h2")
        self.assertEqual(tb.state("h2"), "up")
        self.assertEqual(tb.out("h2", "cat /etc/machine-id"), machine_id)
        self.assertEqual(tb.out("h2", "cat /root/synced; ls /dev/shm/"), "precious")
        self.assertEqual(tb.out("h2", "ls /dev/kvm; findmnt -n -o FSTYPE /srv/ftvmm"), "/dev/kvm\nnfs4")
        self.assertTrue(tb.reachable("client", "h2"))

    def test_a_host_that_powers_off_by_itself_is_down(self) -> None:
        tb.run("h3", "sh", "-c", "echo o > /proc/sysrq-trigger", check=False)
        wait_until("h3 is down", lambda: tb.state("h3") == "down")
        tb.verb("start", "h3")
        self.assertTrue(tb.reachable("h1", "h3"))


class Pause(unittest.TestCase):
    PAUSE_S = 6  # longer than the 4.7 s after which a 24-bit ACPI timer wraps

    def clocks(self, host: str) -> tuple[float, float]:
        wall, boot = tb.out(host, "date +%s.%N; cut -d' ' -f1 /proc/uptime").split()
        return float(wall), float(boot)

    def test_a_paused_host_is_silent_and_its_clocks_jump_when_it_goes_on(self) -> None:
        # A program on the host notes the longest gap between two looks at its clock.
        watcher = tb.spawn("h1", "python3", "-uc", (
            "import time\nlast = time.clock_gettime(time.CLOCK_BOOTTIME)\nprint('ready')\n"
            "while True:\n time.sleep(0.05)\n now = time.clock_gettime(time.CLOCK_BOOTTIME)\n"
            " if now - last > 3: print(now - last); break\n last = now"))  # fmt: skip
        self.assertEqual(watcher.stdout.readline(), "ready\n")
        before, begin = self.clocks("h1"), time.monotonic()
        tb.verb("pause", "h1")
        paused_at = time.monotonic()
        try:
            self.assertEqual(tb.state("h1"), "paused")
            self.assertTrue(tb.silent("h2", "h1"))
            self.assertTrue(tb.silent("h2", "h1-ft"))
            refused = tb.verb("run", "h1", "--", "true", check=False)
            self.assertIn("testbed resume h1", refused.stderr)
            time.sleep(max(0.0, paused_at + self.PAUSE_S - time.monotonic()))
        finally:
            paused_s = time.monotonic() - paused_at
            tb.verb("resume", "h1")
        gap, _ = watcher.communicate(timeout=30)
        self.assertAlmostEqual(float(gap), paused_s, delta=1.5)
        after, took = self.clocks("h1"), time.monotonic() - begin
        for name, then, now in zip(("wall", "boot"), before, after):
            self.assertAlmostEqual(now - then, took, delta=1.5, msg=f"{name} clock")
        self.assertTrue(tb.reachable("h2", "h1"))


class Faults(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(tb.verb, "heal")

    def test_a_cut_of_the_ft_network_leaves_the_service_network_alone(self) -> None:
        tb.verb("cut", "h1", "h2", "--net", "ft")
        self.assertTrue(tb.silent("h1", "h2-ft"))
        self.assertTrue(tb.reachable("h1", "h2"))
        self.assertTrue(tb.reachable("h1", "h3-ft"))
        self.assertIn("cut    ft   h1 -> h2", tb.status()["faults"])
        tb.verb("heal", "h1", "h2")
        self.assertTrue(tb.reachable("h1", "h2-ft"))

    def test_a_one_way_cut_stops_exactly_one_direction(self) -> None:
        # Fixed neighbours, so that ARP, which needs both directions, has no part in it.
        self.fix_neighbours()
        tb.verb("cut", "h1", "h2", "--net", "ft", "--one-way")
        self.assertEqual(self.datagrams_arriving("h1", "h2"), 0)
        self.assertEqual(self.datagrams_arriving("h2", "h1"), 20)
        tb.verb("heal")
        self.assertEqual(self.datagrams_arriving("h1", "h2"), 20)

    def fix_neighbours(self) -> None:
        for host, other in (("h1", "h2"), ("h2", "h1")):
            mac = tb.out(other, "cat /sys/class/net/ft/address")
            address = tb.status()["machines"][other]["addresses"]["ft"]
            tb.run(host, "ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", "ft")
            self.addCleanup(tb.run, host, "ip", "neigh", "del", address, "dev", "ft")

    def datagrams_arriving(self, source: str, target: str) -> int:
        """Of 20 UDP datagrams; the target counts them, and nothing has to come back."""
        sniffer = tb.spawn(target, "timeout", 20, "tcpdump", "-i", "ft", "-nn", "-Q", "in", "-c", "20", "-l",
                           "--immediate-mode", "udp port 4567")  # fmt: skip
        line = sniffer.stderr.readline()
        while "listening on" not in line:
            self.assertTrue(line, "tcpdump did not start")
            line = sniffer.stderr.readline()
        tb.run(source, "python3", "-c", (
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"for i in range(20): s.sendto(b'x', ('{target}-ft', 4567))"))  # fmt: skip
        try:
            sniffer.wait(3)
        except subprocess.TimeoutExpired:
            tb.run(target, "pkill", "-INT", "-x", "tcpdump")
        out, _ = sniffer.communicate(timeout=30)
        return out.count(".4567:")

    def test_a_delay_is_added_to_each_direction_and_ends_with_heal(self) -> None:
        base = average_ms("h1", "h2-ft")
        tb.verb("delay", "h1", "h2", 60, "--net", "ft")
        self.assertAlmostEqual(average_ms("h1", "h2-ft"), base + 120, delta=25)
        self.assertLess(average_ms("h1", "h3-ft"), 40)
        tb.verb("delay", "h1", "h2", 0, "--net", "ft", "--one-way")
        self.assertAlmostEqual(average_ms("h1", "h2-ft"), base + 60, delta=25)
        tb.verb("cut", "h2", "h1", "--net", "ft", "--one-way")
        self.assertTrue(tb.silent("h1", "h2-ft"))
        tb.verb("heal")
        self.assertLess(average_ms("h1", "h2-ft"), 40)

    def test_a_stream_crosses_a_late_network_whole(self) -> None:
        tb.verb("delay", "h1", "client", 20)
        code = (
            "import hashlib, socket, subprocess, sys\nlistener = socket.create_server(('', 4568))\n"
            "print('ready', flush=True)\nconnection, _ = listener.accept()\nsum = hashlib.md5()\n"
            "while data := connection.recv(65536): sum.update(data)\nprint(sum.hexdigest())"
        )
        server = tb.spawn("client", sys.executable, "-c", code)
        self.assertEqual(server.stdout.readline(), "ready\n")
        tb.out("h1", "head -c 4000000 /dev/zero | timeout 60 socat -u - TCP:client:4568")
        out, _ = server.communicate(timeout=60)
        self.assertEqual(out.strip(), hashlib.md5(bytes(4_000_000)).hexdigest())

    def test_loss_drops_about_the_share_it_was_told(self) -> None:
        def lost_share() -> float:
            before = received("h2", "ft")
            tb.run("h1", "ping", "-q", "-c", 400, "-i", 0.005, "-W", 1, "h2-ft", check=False)
            return 1 - (received("h2", "ft") - before) / 400

        tb.run("h1", "ping", "-c", 1, "h2-ft")
        tb.verb("loss", "h1", "h2", 30, "--net", "ft", "--one-way")
        self.assertAlmostEqual(lost_share(), 0.3, delta=0.1)
        tb.verb("delay", "h1", "h2", 5, "--net", "ft", "--one-way")
        self.assertAlmostEqual(lost_share(), 0.3, delta=0.1)
        tb.verb("heal")
        self.assertLess(lost_share(), 0.02)

    def test_the_client_can_be_cut_from_one_host_alone(self) -> None:
        tb.verb("cut", "client", "h1")
        self.assertTrue(tb.silent("client", "h1"))
        self.assertTrue(tb.reachable("client", "h2"))
        self.assertTrue(tb.reachable("h2", "h1"))


class Bridge(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(tb.verb, "bridge", "h1", "--remove")

    def plug_in_guest(self, address: str) -> None:
        """A network namespace on h1 with a card in br0: to the network it is what a guest's tap is.
        Its MAC is always the same, as a guest's is, and no VM of another test has its address: neighbours remember both,
        and go on sending to a MAC that is gone for longer than a test waits for an answer."""
        self.addCleanup(tb.out, "h1", "ip netns del guest")
        tb.out("h1", f"""set -e
            ip netns add guest
            ip link add tap0 type veth peer name eth0 address 52:54:00:77:01:70 netns guest
            ip link set tap0 master br0 up
            ip -n guest addr add {address}/24 dev eth0
            ip -n guest link set eth0 up""")

    def test_a_guest_in_the_bridge_is_on_the_service_network(self) -> None:
        tb.verb("bridge", "h1")
        self.plug_in_guest("10.77.1.70")
        for member in ("client", "h2", "h1"):
            self.assertTrue(tb.reachable(member, "10.77.1.70"), member)
        done = tb.run("h1", "ip", "netns", "exec", "guest", "ping", "-c", 3, "-i", 0.2, "-W", 4, "10.77.1.100")
        self.assertIn(" 0% packet loss", done.stdout)

    def test_a_cut_of_the_host_cuts_off_its_guests(self) -> None:
        tb.verb("bridge", "h1")
        self.plug_in_guest("10.77.1.70")
        self.addCleanup(tb.verb, "heal")
        tb.verb("cut", "h1", "client")
        self.assertTrue(tb.silent("client", "10.77.1.70"))
        self.assertTrue(tb.reachable("h2", "10.77.1.70"))

    def test_the_host_keeps_its_address_its_mac_and_its_storage(self) -> None:
        mac = tb.out("h1", "cat /sys/class/net/svc/address")
        tb.verb("bridge", "h1")
        for host, card in (("client", "svc"), ("h2", "svc")):
            self.assertTrue(tb.reachable(host, "h1"), host)
            self.assertIn(mac, tb.out(host, f"ip neigh show 10.77.1.11 dev {card}"))
        self.assertEqual(tb.out("h1", "echo here > /srv/ftvmm/bridge; cat /srv/ftvmm/bridge"), "here")
        self.assertEqual(tb.out("h1", "ip -o -4 addr show svc"), "")

    def test_asked_twice_it_is_made_once_and_removed_it_is_gone(self) -> None:
        before = tb.out("h1", "ip -o -4 addr show svc; ip route")
        tb.verb("bridge", "h1")
        tb.verb("bridge", "h1")
        self.assertIn("10.77.1.11/24", tb.out("h1", "ip -o -4 addr show br0"))
        tb.verb("bridge", "h1", "--remove")
        tb.verb("bridge", "h1", "--remove")
        self.assertEqual(tb.out("h1", "ip -o -4 addr show svc; ip route"), before)
        self.assertEqual(tb.out("h1", "ls /sys/class/net | grep br0 || true"), "")
        self.assertTrue(tb.reachable("client", "h1"))

    def test_a_bridge_that_cannot_be_made_changes_nothing(self) -> None:
        # A card's address that is not where it should be makes the last steps fail.
        tb.out("h1", "ip addr del 10.77.1.11/24 dev svc")
        refused = tb.verb("bridge", "h1", check=False)
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("h1's br0 was not made", refused.stderr)
        self.assertEqual(tb.out("h1", "ls /sys/class/net | grep br0 || true"), "")
        self.assertTrue(tb.reachable("client", "h1"))


class SharedStorage(unittest.TestCase):
    def test_file_access_hangs_while_nfs_is_stopped_and_goes_on_with_all_data(self) -> None:
        tb.out("h1", "seq 1000 > /srv/ftvmm/numbers && sync /srv/ftvmm/numbers")
        tb.verb("nfs-stop")
        try:
            writer = tb.spawn("h1", "sh", "-c", "echo late > /srv/ftvmm/late && sync /srv/ftvmm/late")
            self.assertEqual(tb.status()["nfs"], "stopped")
            with self.assertRaises(subprocess.TimeoutExpired):
                writer.wait(3)
        finally:
            tb.verb("nfs-start")
        _, said = writer.communicate(timeout=90)
        self.assertEqual(writer.returncode, 0, said)
        self.assertEqual(tb.status()["nfs"], "serving")
        self.assertEqual(tb.out("h2", "tail -n 1 /srv/ftvmm/numbers; cat /srv/ftvmm/late"), "1000\nlate")


class Refusals(unittest.TestCase):
    def test_each_mistake_gets_one_line_that_says_what_to_do(self) -> None:
        for words, hint in (
            (["run", "h9", "--", "true"], "this testbed has h1, h2, h3"),
            (["kill", "client"], "not a machine"),
            (["resume", "h1"], "h1 is up"),
            (["start", "h1"], "up already"),
            (["cut", "h1", "h1"], "two different"),
            (["cut", "h1", "nfs1", "--net", "ft"], "do not share"),
            (["cut", "h1", "moon"], "no member 'moon'"),
            (["up"], "testbed down"),
            (["logs", "h9"], "no log"),
            (["bridge", "client"], "not a machine"),
            (["push", "h1", "/does/not/exist"], "no such file"),
        ):
            done = tb.verb(*words, check=False)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), (words, done.stderr))
            self.assertIn(hint, done.stderr)


if __name__ == "__main__":
    unittest.main()
