"""The rooms keep to the plan, and the check would notice if they did not."""

import tempfile
import unittest
from pathlib import Path

import rooms


def breaches_with(files: dict[str, str]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder)
        for name, text in files.items():
            (src / name).parent.mkdir(parents=True, exist_ok=True)
            (src / name).write_text(text)
        return [str(breach) for breach in rooms.find_breaches(src)]


class Rooms(unittest.TestCase):
    def test_every_include_of_the_project_keeps_to_the_plan(self):
        src = Path(__file__).resolve().parents[2] / "src"
        self.assertGreater(len(list(src.rglob("*.cpp"))), 20)
        self.assertEqual([str(breach) for breach in rooms.find_breaches(src)], [])

    def test_what_is_allowed_passes(self):
        self.assertEqual(breaches_with({
            "base/fd.h": "#include <vector>\n",
            "vmm/kvm/kvm_api.h": "#include <linux/kvm.h>\n",
            "vmm/kvm/vm.cpp": '#include "base/fd.h"\n#include "vmm/memory/gpa.h"\n',
            "cli/main.cpp": "#include <CLI/CLI.hpp>\n",
        }), [])

    def test_a_room_that_includes_one_above_it_is_named_with_its_line(self):
        found = breaches_with({"base/fd.h": '#include <vector>\n#include "vmm/kvm/vm.h"\n'})
        self.assertEqual(found, ["base/fd.h:2: room base may not include room vmm/kvm"])

    def test_kvm_headers_outside_their_room_are_a_breach(self):
        self.assertEqual(len(breaches_with({"vmm/probe/a.cpp": "#include <linux/kvm.h>\n"})), 1)

    def test_kvm_run_outside_vcpu_is_a_breach_but_not_in_a_comment(self):
        self.assertEqual(len(breaches_with({"vmm/probe/a.cpp": "kvm_run* run;\n"})), 1)
        self.assertEqual(breaches_with({"vmm/probe/a.cpp": "// as kvm_run says\n"}), [])

    def test_sockets_and_json_in_a_pure_room_are_a_breach(self):
        for header in ("boost/asio.hpp", "openssl/ssl.h", "nlohmann/json.hpp"):
            self.assertEqual(len(breaches_with({"base/a.cpp": f"#include <{header}>\n"})), 1, header)

    def test_a_driver_file_may_use_sockets(self):
        self.assertEqual(breaches_with({"base/link_driver.cpp": "#include <boost/asio.hpp>\n"}), [])

    def test_a_relative_include_and_a_file_in_no_room_are_breaches(self):
        self.assertEqual(len(breaches_with({"base/a.cpp": '#include "fd.h"\n'})), 1)
        self.assertEqual(len(breaches_with({"attic/a.cpp": "int x;\n"})), 1)


if __name__ == "__main__":
    unittest.main()
