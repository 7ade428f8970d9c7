#!/usr/bin/env python3
"""The testbed's pure parts.  Needs neither root nor network nor image."""

from __future__ import annotations

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ftvmm_testbed import access, delayline, image, instance, machine, network, plan, remote  # noqa: E402
from ftvmm_testbed.arguments import parse  # noqa: E402
from ftvmm_testbed.cli import default_cpus  # noqa: E402
from ftvmm_testbed.errors import TestbedError  # noqa: E402
from ftvmm_testbed.faults import Direction, Faults, directions, ruleset  # noqa: E402

WHO = plan.members(3, True)
H1_H2 = Direction("ft", "h1", "h2")
H2_H1 = Direction("ft", "h2", "h1")


class CommandLine(unittest.TestCase):
    def test_everything_after_the_dashes_belongs_to_the_command(self) -> None:
        self.assertEqual(parse(["run", "h1", "--", "ls", "--", "-l", "--instance"]).command,
                         ["ls", "--", "-l", "--instance"])  # fmt: skip

    def test_the_default_is_three_hosts_with_shared_storage(self) -> None:
        options = parse(["up"])
        self.assertEqual((options.hosts, options.nfs, options.memory, options.owner), (3, True, 2048, None))

    def test_a_loss_keeps_a_tenth_of_a_percent(self) -> None:
        self.assertEqual(parse(["loss", "h1", "h2", "0.1"]).permille, 1)

    def test_mistakes_are_told_in_one_line(self) -> None:
        for words in (
            [], ["fly"], ["up", "--hosts", "9"], ["up", "--hosts", "two"], ["up", "--memory", "1"],
            ["run", "h1"], ["run", "h1", "--"], ["delay", "h1", "h2", "-5"], ["delay", "h1", "h2", "nan"],
            ["loss", "h1", "h2", "101"], ["cut", "h1"], ["cut", "h1", "h2", "--net", "mgmt"], ["heal", "h1"],
            ["up", "--owner", "0"],
        ):  # fmt: skip
            with self.assertRaises(TestbedError, msg=words) as caught:
                parse(words)
            self.assertNotIn("\n", str(caught.exception))

    def test_emulated_hosts_get_one_cpu_and_nested_ones_two_where_the_cores_allow(self) -> None:
        self.assertEqual([default_cpus(hosts, 8, nested=False) for hosts in (0, 1, 3)], [1, 1, 1])
        self.assertEqual([default_cpus(3, 2, True), default_cpus(1, 2, True), default_cpus(3, 8, True)],
                         [1, 2, 2])  # fmt: skip


class Instances(unittest.TestCase):
    def test_checkouts_differ_in_name_and_one_checkout_keeps_its_own(self) -> None:
        a, b = (instance.default_name(Path(p)) for p in ("/src/a", "/src/b"))
        self.assertNotEqual(a, b)
        self.assertEqual(a, instance.default_name(Path("/src/a")))

    def test_a_name_that_could_leave_its_folder_is_refused(self) -> None:
        for name in ("../x", "a/b", "x" * 33, ".", "-x", "a b"):
            with self.assertRaises(TestbedError, msg=name):
                instance.select(name)

    def test_the_longest_name_leaves_room_for_socket_paths(self) -> None:
        longest = instance.Instance("x" * 32, Path("/"))
        self.assertLess(len(str(longest.ssh_socket("nfs1"))) + len(".0123456789abcdef"), 108)


class Addresses(unittest.TestCase):
    def test_no_two_members_share_an_address_a_mac_or_a_port(self) -> None:
        everyone = plan.members(plan.MAX_HOSTS, True).values()
        for of in (plan.Member.address, plan.Member.mac, plan.Member.port):
            values = [of(member, net) for member in everyone for net in member.nets]
            self.assertEqual(len(values), len(set(values)), of)

    def test_port_names_fit_the_kernels_limit(self) -> None:
        everyone = plan.members(plan.MAX_HOSTS, True).values()
        self.assertLess(max(len(m.port(net)) for m in everyone for net in m.nets), 16)

    def test_the_image_knows_the_same_names(self) -> None:
        self.assertEqual((image.RECIPE / "overlay/etc/hosts").read_text(), plan.hosts_file())

    def test_the_management_network_cannot_be_cut(self) -> None:
        self.assertEqual(plan.shared_nets(WHO["h1"], WHO["h2"], "all"), ("svc", "ft"))
        self.assertEqual(plan.shared_nets(WHO["h1"], WHO["client"], "all"), ("svc",))


class Machines(unittest.TestCase):
    def spec(self, name: str, nested: bool = False) -> machine.MachineSpec:
        return machine.MachineSpec("t", WHO[name], 2048, 2, nested, True, Path("/i"), Path("/d"),
                                   Path("/s"), None if name == "nfs1" else Path("/v"))  # fmt: skip

    def test_the_kernel_command_line_gives_each_machine_its_role_and_addresses(self) -> None:
        host, nfs = (machine.kernel_arguments(self.spec(name)).split() for name in ("h2", "nfs1"))
        self.assertIn("ftvmm.net=mgmt:10.77.0.12,svc:10.77.1.12,ft:10.77.2.12", host)
        self.assertTrue({"systemd.hostname=h2", "ftvmm.role=host", "ftvmm.nfs=nfs1"} <= set(host))
        self.assertIn("ftvmm.net=mgmt:10.77.0.5,svc:10.77.1.5", nfs)
        self.assertTrue({"ftvmm.role=nfs", "systemd.wants=nfs-server.service"} <= set(nfs))

    def test_hosts_offer_svm_under_emulation_and_the_real_cpu_under_kvm(self) -> None:
        self.assertIn("EPYC,+svm,+npt,+invtsc", machine.qemu_arguments(self.spec("h1")))
        self.assertIn("host", machine.qemu_arguments(self.spec("h1", nested=True)))

    def test_cards_come_in_the_order_that_the_kernel_command_line_names_them(self) -> None:
        args = " ".join(machine.qemu_arguments(self.spec("h1")))
        order = [args.index(f"netdev={net},") for net in ("mgmt", "svc", "ft")]
        self.assertEqual(order, sorted(order))

    def test_every_machine_has_a_tap_in_each_of_its_networks(self) -> None:
        text = "\n".join(network.network_commands(WHO))
        for port, net in (("h1-svc", "svc"), ("h3-ft", "ft"), ("nfs1-svc", "svc"), ("h2-mgmt", "mgmt")):
            self.assertIn(f"link set {port} master br-{net} up", text)
        self.assertNotIn("nfs1-ft", text)


class FaultRules(unittest.TestCase):
    def test_a_one_way_cut_drops_exactly_one_direction(self) -> None:
        faults = Faults(cuts=set(directions(WHO["h1"], WHO["h2"], ("ft",), one_way=True)))
        text = ruleset(faults, WHO)
        self.assertIn('iifname "h1-ft" oifname "h2-ft" drop', text)
        self.assertNotIn('iifname "h2-ft"', text)

    def test_without_faults_nothing_is_dropped(self) -> None:
        self.assertNotIn("drop", ruleset(Faults(), WHO))

    def test_the_rules_of_before_are_replaced_in_the_same_transaction(self) -> None:
        lines = ruleset(Faults(), WHO).splitlines()
        self.assertLess(lines.index("delete table bridge ftvmm_faults"), len(lines) - 1)

    def test_a_late_direction_is_dropped_by_the_bridge_and_carried_by_a_cable_with_its_loss(self) -> None:
        faults = Faults(delay_ms={H1_H2: 20}, loss_permille={H1_H2: 300})
        text = ruleset(faults, WHO)
        self.assertIn('iifname "h1-ft" oifname "h2-ft" drop', text)
        self.assertNotIn("numgen", text)
        self.assertEqual(delayline.cables(faults, WHO), [delayline.Cable("br-ft", "h1-ft", "h2-ft", 0.02, 300)])

    def test_a_cut_direction_has_no_cable(self) -> None:
        faults = Faults(cuts={H1_H2}, delay_ms={H1_H2: 20, H2_H1: 20})
        self.assertEqual([c.source for c in delayline.cables(faults, WHO)], ["h2-ft"])

    def test_heal_of_a_pair_leaves_the_others(self) -> None:
        other = Direction("svc", "h1", "h3")
        faults = Faults(cuts={H1_H2, H2_H1, other}, loss_permille={H1_H2: 5})
        faults.heal("h2", "h1")
        self.assertEqual((faults.cuts, faults.loss_permille), ({other}, {}))
        faults.heal(None, None)
        self.assertEqual(faults.describe(), [])


class DelayLine(unittest.TestCase):
    CABLE = delayline.Cable("br-ft", "h1-ft", "h2-ft", 0.05, 0)

    def test_a_frame_arrives_after_its_delay_and_not_before(self) -> None:
        flight = delayline.InFlight()
        flight.put(self.CABLE, b"frame", now=10.0)
        self.assertEqual(flight.take_due(10.049), [])
        self.assertAlmostEqual(flight.wait_s(10.0), 0.05)
        self.assertEqual(flight.take_due(10.051), [(self.CABLE, b"frame")])
        self.assertIsNone(flight.wait_s(10.051))

    def test_frames_of_one_moment_keep_their_order(self) -> None:
        flight = delayline.InFlight()
        frames = [bytes([255 - i]) for i in range(50)]
        for frame in frames:
            flight.put(self.CABLE, frame, now=1.0)
        self.assertEqual([frame for _, frame in flight.take_due(2.0)], frames)

    def test_a_lossy_cable_drops_below_its_share_of_the_dice(self) -> None:
        dice = iter([0.29, 0.31])
        flight = delayline.InFlight(chance=lambda: next(dice))
        lossy = delayline.Cable("br-ft", "h1-ft", "h2-ft", 0, 300)
        flight.put(lossy, b"lost", now=0)
        flight.put(lossy, b"kept", now=0)
        self.assertEqual([frame for _, frame in flight.take_due(0)], [b"kept"])

    def test_a_full_cable_drops_and_does_not_grow(self) -> None:
        flight = delayline.InFlight()
        for _ in range(delayline.MAX_IN_FLIGHT + 10):
            flight.put(self.CABLE, b"", now=0)
        self.assertEqual(len(flight.take_due(1)), delayline.MAX_IN_FLIGHT)

    def test_a_frame_goes_where_a_learning_switch_would_send_it(self) -> None:
        here, there, unknown = b"\x52\0\0\0\0\1", b"\x52\0\0\0\0\2", b"\x52\0\0\0\0\3"
        learned = {here: 1, there: 2}
        self.assertTrue(delayline.goes_to(here + bytes(8), 1, learned))
        self.assertFalse(delayline.goes_to(there + bytes(8), 1, learned))
        self.assertTrue(delayline.goes_to(unknown + bytes(8), 1, learned))
        self.assertTrue(delayline.goes_to(b"\xff" * 6 + bytes(8), 1, learned))

    def test_the_bridges_table_is_read_with_both_bytes_of_the_port(self) -> None:
        entry = delayline.FDB_ENTRY.pack(b"\x52\0\0\0\0\1", 0x34, 0, 100, 0x12, 0, 0)
        self.assertEqual(delayline.parse_fdb(entry + b"cut short"), {b"\x52\0\0\0\0\1": 0x1234})


class Images(unittest.TestCase):
    def test_the_hash_follows_content_names_and_modes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder, "recipe")
            shutil.copytree(image.RECIPE, recipe)
            seen = {image.recipe_hash(recipe)}
            self.assertEqual(seen, {image.recipe_hash()})
            (recipe / "packages").write_text("other\n")
            seen.add(image.recipe_hash(recipe))
            (recipe / "make-image.sh").chmod(0o644)
            seen.add(image.recipe_hash(recipe))
            (recipe / "initrd-init").rename(recipe / "initrd-other")
            seen.add(image.recipe_hash(recipe))
            self.assertEqual(len(seen), 4)


class Remote(unittest.TestCase):
    def test_a_session_never_leaves_the_hosts_own_connection(self) -> None:
        command = remote.session_command(Path("/run/h1.ssh"), "h1", ["echo", "a b"])
        self.assertIn("ProxyCommand=false", command)
        self.assertEqual(command[-1], "echo 'a b'")

    def test_the_last_word_of_push_is_a_destination_when_it_is_absolute_and_not_a_file_here(self) -> None:
        here = __file__
        self.assertEqual(access.split_destination([here]), ([here], "/root/"))
        self.assertEqual(access.split_destination([here, "/opt/x/"]), ([here], "/opt/x/"))
        self.assertEqual(access.split_destination([here, "/no/such/name"]), ([here], "/no/such/name"))
        self.assertEqual(access.split_destination(["a", here]), (["a", here], "/root/"))


if __name__ == "__main__":
    unittest.main()
