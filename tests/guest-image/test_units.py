#!/usr/bin/env python3
"""The agent, its client and the scripts of guests, without a guest.  Needs neither root nor image."""

from __future__ import annotations

import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "testbed")]
from agent import ConsoleAgent, ConsoleError, ConsoleTimeout  # noqa: E402
from ftvmm_testbed.errors import TestbedError  # noqa: E402
from guest_image import images  # noqa: E402


class Agent(unittest.TestCase):
    """The agent's own script behind a pseudo terminal."""

    def setUp(self) -> None:
        master, slave = pty.openpty()
        self.tty = os.ttyname(slave).removeprefix("/dev/")
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        self.agent = ConsoleAgent((master, master))

    def listen(self) -> None:
        process = subprocess.Popen([HERE / "common/agent", self.tty], start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def start(self) -> None:
        self.listen()
        self.agent.ready(30)

    def test_a_command_gives_its_output_and_its_exit_code(self) -> None:
        self.start()
        self.assertEqual(self.agent.run("echo out; echo err >&2; exit 3"), (3, "out\nerr\n"))
        self.assertEqual(self.agent.run("true"), (0, ""))
        self.assertEqual(self.agent.run("kill -9 $$").code, 137)

    def test_output_arrives_to_the_byte(self) -> None:
        self.start()
        self.assertEqual(self.agent.run("printf 'no newline'").output, "no newline")
        self.assertEqual(self.agent.run("printf 'two\\n\\n'").output, "two\n\n")
        raw = self.agent.run(r"printf '\r\004\003\377\000\t'").output
        self.assertEqual(raw.encode("utf-8", "surrogateescape"), b"\r\x04\x03\xff\x00\t")

    def test_a_command_arrives_to_the_letter(self) -> None:
        self.start()
        for text in ("it's \"so\" $HOME `x` \\n *", "line\nbreak", "ä", "END 1 0\n", "x" * 20_000):
            quoted = text.replace("'", "'\\''")
            self.assertEqual(self.agent.run(f"printf %s '{quoted}'"), (0, text))

    def test_output_that_looks_like_an_end_is_output(self) -> None:
        self.start()
        self.assertEqual(self.agent.run("echo; echo END 1 0; echo BEGIN 1").output, "\nEND 1 0\nBEGIN 1\n")

    def test_more_output_than_a_terminal_holds_is_complete(self) -> None:
        self.start()
        self.assertEqual(self.agent.run("seq 50000").output.split(), [str(i) for i in range(1, 50001)])

    def test_a_command_finds_no_input_and_eats_none(self) -> None:
        self.start()
        first, second = self.agent.start("cat; echo done"), self.agent.start("echo next")
        self.assertEqual(self.agent.finish(first), (0, "done\n"))
        self.assertEqual(self.agent.finish(second), (0, "next\n"))

    def test_typed_noise_is_passed_over(self) -> None:
        self.start()
        self.agent.send(b"noise\nRUN\nBEGIN x\nhalf a li")
        self.assertEqual(self.agent.run("echo yes"), (0, "yes\n"))

    def test_a_command_that_is_no_base64_is_told_and_not_run(self) -> None:
        self.start()
        self.agent.send(b"RUN broken ####\n")
        self.assertEqual(self.agent.finish("broken"), (125, "agent: the command is no base64\n"))

    def test_after_a_timeout_the_next_answer_is_the_next_command_s(self) -> None:
        self.start()
        with self.assertRaises(ConsoleTimeout):
            self.agent.run("sleep 1; echo late", timeout=0.2)
        self.assertEqual(self.agent.run("echo mine"), (0, "mine\n"))

    def test_a_guest_that_listens_late_is_ready_then(self) -> None:
        late = threading.Timer(2.5, self.listen)
        late.start()
        self.addCleanup(late.join)
        self.agent.ready(30)
        self.assertEqual(self.agent.run("echo hello"), (0, "hello\n"))

    def test_a_guest_that_never_listens_is_told(self) -> None:
        with self.assertRaises(ConsoleTimeout):
            self.agent.ready(0.1)


class Client(unittest.TestCase):
    """The client alone, against a guest played by the test."""

    def console(self) -> tuple[ConsoleAgent, socket.socket]:
        ours, guest = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(guest.close)
        return ConsoleAgent((ours.fileno(), ours.fileno())), guest

    def test_an_answer_is_found_among_what_else_the_console_prints(self) -> None:
        agent, guest = self.console()
        name = agent.start("x")
        guest.sendall(b"[ 0.1] boot\r\nBEGIN other\nEND other 1\nBEGIN %s\nout\nEND %s 0\nlogin: "
                      % (name.encode(), name.encode()))  # fmt: skip
        self.assertEqual(agent.finish(name, 1), (0, "out"))
        agent.wait_for("login:", 1)
        self.assertIn("[ 0.1] boot", agent.transcript)

    def test_an_answer_goes_on_at_another_host(self) -> None:
        agent, primary = self.console()
        other, secondary = socket.socketpair()
        self.addCleanup(other.close)
        self.addCleanup(secondary.close)
        name = agent.start("x").encode()
        primary.sendall(b"BEGIN %s\n1\n2" % name)
        with self.assertRaises(ConsoleTimeout):
            agent.finish(name.decode(), 0.1)
        agent.reconnect((other.fileno(), other.fileno()))
        secondary.sendall(b"\n3\n\nEND %s 0\n" % name)
        self.assertEqual(agent.finish(name.decode(), 1), (0, "1\n2\n3\n"))

    def test_what_was_waited_for_is_not_found_twice(self) -> None:
        agent, guest = self.console()
        guest.sendall(b"login: ")
        agent.wait_for("login:", 1)
        with self.assertRaises(ConsoleTimeout):
            agent.wait_for("login:", 0.1)

    def test_a_console_that_closes_is_told_with_its_last_words(self) -> None:
        agent, guest = self.console()
        guest.sendall(b"Kernel panic - not syncing")
        guest.close()
        with self.assertRaisesRegex(ConsoleError, "closed.*Kernel panic"):
            agent.wait_for("login:", 1)

    def test_a_unix_socket_s_path_is_a_console_too(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{folder}/console")
            server.listen()
            agent = ConsoleAgent(Path(folder, "console"))
            self.addCleanup(agent.close)
            guest, _ = server.accept()
            self.addCleanup(guest.close)
            guest.sendall(b"hello\n")
            agent.wait_for("^hello$", 1)

    def test_a_guest_that_takes_no_input_is_told(self) -> None:
        agent, _ = self.console()
        with self.assertRaises(ConsoleTimeout):
            agent.send(b"x" * 10_000_000, timeout=0.2)

    def test_a_command_too_long_for_a_console_is_refused(self) -> None:
        agent, _ = self.console()
        with self.assertRaises(ValueError):
            agent.start("x" * 30_000)


class Network(unittest.TestCase):
    """The script that reads ip= from the kernel command line."""

    def commands(self, cmdline: str, card: str = "eth0") -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "cmdline").write_text(f"{cmdline}\n")
            Path(folder, "ip").write_text('#!/bin/sh\necho "$*"\n')
            Path(folder, "ip").chmod(0o755)
            environment = {"PATH": f"{folder}:{os.environ['PATH']}", "CMDLINE": f"{folder}/cmdline"}
            done = subprocess.run([HERE / "common/network", card], env=environment, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_a_card_gets_address_prefix_and_route(self) -> None:
        self.assertEqual(
            self.commands("console=ttyS0 ip=10.77.1.50::10.77.1.1:255.255.240.0:guest:eth0:off quiet"),
            ["addr add 10.77.1.50/20 broadcast + dev eth0", "link set eth0 up",
             "route add default via 10.77.1.1 dev eth0"],
        )  # fmt: skip

    def test_an_address_alone_is_eth0_s_and_its_net_a_slash_24(self) -> None:
        self.assertEqual(self.commands("ip=10.0.0.9"),
                         ["addr add 10.0.0.9/24 broadcast + dev eth0", "link set eth0 up"])  # fmt: skip
        self.assertEqual(self.commands("ip=10.0.0.9", "eth1"), [])

    def test_a_prefix_length_is_a_netmask_too(self) -> None:
        self.assertIn("addr add 10.0.0.9/17 broadcast + dev eth0", self.commands("ip=10.0.0.9:::17"))

    def test_each_card_takes_its_own_word(self) -> None:
        words = "ip=10.0.0.1:::24::eth0:off ip=10.0.1.1:::24::eth1:off"
        self.assertEqual(self.commands(words, "eth1")[0], "addr add 10.0.1.1/24 broadcast + dev eth1")
        self.assertEqual(len(self.commands(words)), 2)

    def test_without_an_address_the_card_is_left_alone(self) -> None:
        for words in ("root=/dev/vda rw", "ip=::::guest:eth0:off", "ship=10.0.0.1"):
            self.assertEqual(self.commands(words), [], words)


class Recipes(unittest.TestCase):
    def test_a_name_means_its_recipe_and_two_of_one_recipe_mean_it_once(self) -> None:
        def of(*wanted: str) -> list[str]:
            return [recipe.name for recipe in images.recipes_of(list(wanted))]

        self.assertEqual(of("quick"), ["quick"])
        self.assertEqual(of("cloud", "generic"), ["debian"])
        self.assertEqual(of("all"), ["quick", "debian"])

    def test_an_unknown_image_is_told_in_one_line(self) -> None:
        with self.assertRaisesRegex(TestbedError, "^there is no guest image 'debian': use quick, .*all$"):
            images.recipes_of(["quick", "debian"])

    def test_an_image_s_name_leads_to_the_newest_and_old_ones_go(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root, recipe = Path(folder), images.RECIPES[0]
            for name in ("quick-1", "quick-2", "debian-1"):
                Path(root, name, "quick").mkdir(parents=True)
                Path(root, name, "quick/which").write_text(name)
            for name in ("quick-1", "quick-2", "quick-2"):
                images._link(root / "quick", f"{name}/quick")
                self.assertEqual(Path(root, "quick/which").read_text(), name)
            images._remove_old(root / "quick-2", recipe)
            self.assertEqual(sorted(os.listdir(root)), ["debian-1", "quick", "quick-2"])

    def test_whatever_changes_in_a_recipe_or_in_common_makes_another_image(self) -> None:
        here = images.HERE
        with tempfile.TemporaryDirectory() as folder:
            self.addCleanup(setattr, images, "HERE", here)
            self.addCleanup(setattr, images, "COMMON", images.COMMON)
            images.HERE, images.COMMON = Path(folder), Path(folder, "common")
            for name in ("common", "quick"):
                shutil.copytree(here / name, Path(folder, name))
            quick = images.RECIPES[0]
            seen = {quick.hash()}
            Path(folder, "common/agent").write_text("#!/bin/sh\n")
            seen.add(quick.hash())
            Path(folder, "quick/init").write_text("#!/bin/busybox sh\n")
            seen.add(quick.hash())
            self.assertEqual(len(seen), 3)


if __name__ == "__main__":
    unittest.main()
