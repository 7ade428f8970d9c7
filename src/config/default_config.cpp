#include "config/default_config.h"

#include <fmt/format.h>

#include "base/check.h"
#include "config/vm_config.h"

namespace ftvmm::config {

namespace {

constexpr auto kTemplate =
    R"(# A virtual machine of ftvmm. Relative paths start at the folder of this file.
# `ftvmm config check FILE` tells all that is wrong with it.

name = "{name}"
uuid = "{uuid}"

# 64 MiB to 64 GiB. A plain number is in MiB.
memory = "2 GiB"

# The guest's kernel (bzImage or ELF), its initial RAM disk and its command line.
kernel = "vmlinuz"
# initrd = "initrd.img"
cmdline = "root=/dev/vda1 ro console=ttyS0"

[cpu]
# The processor that the guest sees, the same on every host: "v2" (x86-64-v2), or "v3" (with AVX2)
# where every host has it.
model = "v2"

# One [[disk]] for each: a raw image or a block device, on storage that both hosts reach.
[[disk]]
path = "{name}.img"
# read_only = true
# serial = "root"

# One [[nic]] for each: a bridge, on which ftvmm makes a tap, or a tap that exists already.
[[nic]]
mac = "{mac}"
bridge = "br0"
# tap = "tap0"

[console]
# "serial" (ttyS0), or "virtio" (hvc0).
kind = "serial"
# All that the guest prints, into a file as well.
# log = "{name}.log"

# For a VM that runs on two hosts: its own folder on storage that all of them see.
# [ft]
# shared = "/srv/ftvmm/{name}"
# After how much silence a host passes for dead: 200 to 60000.
# dead_after_ms = 400
# For how long who runs the VM holds it, and so how long a start after a crash of all takes: 5 to 600.
# lease_s = 30
# Further networks on which the hosts tell each other that they live, beside that of the link.
# paths = ["192.0.2.0/24"]
# A command that switches a host off, given its name: for one that was lost, and may still write to the VM's disks.
# fence = "/usr/local/sbin/fence-host"
)";

}  // namespace

std::string default_config_text(std::string_view name, const Uuid& uuid, const MacAddress& mac) {
    FTVMM_CHECK(is_vm_name(name), "a new VM has a valid name");
    return fmt::format(kTemplate, fmt::arg("name", name), fmt::arg("uuid", uuid.text()),
                       fmt::arg("mac", mac.text()));
}

}  // namespace ftvmm::config
