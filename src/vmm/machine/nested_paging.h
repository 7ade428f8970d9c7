// Who translates the guest's addresses on this host.
#pragma once

#include <filesystem>

namespace ftvmm::machine {

// Whether the processor reads the guest's page tables itself (NPT, EPT), and not KVM, which keeps
// shadows of them. `modules` is sysfs's list of modules. False where that is not certain: of a KVM
// that says nothing about it, or that says two things.
[[nodiscard]] bool has_nested_paging(const std::filesystem::path& modules = "/sys/module");

}  // namespace ftvmm::machine
