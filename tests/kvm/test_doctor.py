"""`ftvmm doctor` as its users call it: its output, its exit codes and its answers to bad input."""

import json
import os
import subprocess
import sys
import unittest

FTVMM = os.environ["FTVMM"]
SHIM = os.environ["IOCTL_SHIM"]
KVM_CAP_SYNC_REGS = 74
NOBODY = 65534


def doctor(*arguments, user=None, **environment):
    return subprocess.run([FTVMM, "doctor", *arguments], capture_output=True, text=True, timeout=120,
                          user=user, extra_groups=[] if user else None,
                          env={**os.environ, **environment})


class Doctor(unittest.TestCase):
    def assert_refused(self, process, *words):
        """One line on standard error that holds `words`, nothing on standard output, exit code 2."""
        self.assertEqual(process.returncode, 2)
        self.assertEqual(process.stdout, "")
        self.assertEqual(process.stderr.count("\n"), 1, process.stderr)
        for word in words:
            self.assertIn(word, process.stderr)

    def test_the_exit_code_says_whether_lockstep_is_possible(self):
        process = doctor("--json")
        report = json.loads(process.stdout)
        self.assertEqual(process.returncode, 0 if report["jobs"]["lockstep"]["possible"] else 1)
        self.assertEqual(process.stderr, "")
        self.assertGreater(report["exit_us"], 0)
        self.assertGreater(report["million_instructions_per_s"], 0)

    def test_text_and_json_tell_the_same_verdicts(self):
        report = json.loads(doctor("--json").stdout)
        table = doctor().stdout.split("This host can be used for\n")[1]
        for title, job in (("small guests", "small_guests"), ("a Linux guest", "linux_guest"),
                           ("lockstep", "lockstep"), ("counted landmarks", "counted_landmarks")):
            word = "yes" if report["jobs"][job]["possible"] else "no "
            self.assertIn(f"  {word}  {title}\n", table)

    def test_a_job_that_is_impossible_says_why_and_what_to_do(self):
        for job in json.loads(doctor("--json").stdout)["jobs"].values():
            self.assertEqual(job["why_not"] == "", job["possible"])
            self.assertEqual(job["what_to_do"] == "", job["possible"])

    def test_no_kvm_device(self):
        self.assert_refused(doctor("--device", "/dev/no-kvm"), "No such file", "load kvm_amd")

    def test_no_permission_for_the_kvm_device(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody without the permission")
        # The device may be open to all on this host: a copy of its node is not.
        node = f"/dev/kvm-test-{os.getpid()}"
        os.mknod(node, 0o20600, os.stat("/dev/kvm").st_rdev)
        try:
            # The build folder may be closed to others: the program comes as an open descriptor.
            with open(FTVMM, "rb") as program:
                process = subprocess.run(
                    [f"/proc/self/fd/{program.fileno()}", "doctor", "--device", node],
                    pass_fds=[program.fileno()], capture_output=True, text=True, user=NOBODY,
                    extra_groups=[])
        finally:
            os.unlink(node)
        self.assert_refused(process, "Permission denied", "join the group")

    def test_another_api_version(self):
        self.assert_refused(doctor(LD_PRELOAD=SHIM, SHIM_API_VERSION="11"), "API version 11", "stock")

    def test_a_missing_capability_is_named_and_forbids_lockstep(self):
        process = doctor("--json", LD_PRELOAD=SHIM, SHIM_MISSING_CAPABILITY=str(KVM_CAP_SYNC_REGS))
        self.assertEqual(process.returncode, 1)
        report = json.loads(process.stdout)
        self.assertEqual(report["capabilities"]["KVM_CAP_SYNC_REGS"], 0)
        self.assertIn("KVM_CAP_SYNC_REGS", report["abilities"]["sync_regs"]["detail"])
        self.assertFalse(report["abilities"]["sync_regs"]["works"])
        self.assertFalse(report["jobs"]["lockstep"]["possible"])
        self.assertIn("SYNC_REGS", report["jobs"]["lockstep"]["why_not"])

    def test_a_wrong_command_line_is_refused_with_a_hint(self):
        for arguments in (["--jason"], ["surplus"]):
            process = doctor(*arguments)
            self.assertNotEqual(process.returncode, 0)
            self.assertIn("--help", process.stderr)


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: no /dev/kvm that may be used here")
        sys.exit(77)
    unittest.main()
