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
)";

}  // namespace

std::string default_config_text(std::string_view name, const Uuid& uuid, const MacAddress& mac) {
    FTVMM_CHECK(is_vm_name(name), "a new VM has a valid name");
    return fmt::format(kTemplate, fmt::arg("name", name), fmt::arg("uuid", uuid.text()),
                       fmt::arg("mac", mac.text()));
}

}  // namespace ftvmm::config
