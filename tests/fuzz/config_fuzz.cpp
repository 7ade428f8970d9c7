// Any text as vm.toml: a configuration whose every value is one that a VM can have, or problems
// that name their places.
#include <algorithm>
#include <string>
#include <string_view>

#include "base/check.h"
#include "config/read_config.h"
#include "fuzz_input.h"

namespace ftvmm::config {
namespace {

bool is_path(const std::string& path) {
    return !path.empty() && path.find('\0') == std::string::npos;
}

void check(const VmConfig& config) {
    FTVMM_CHECK(is_vm_name(config.name), "a VM's name is one");
    FTVMM_CHECK(config.memory_bytes >= kMinMemoryBytes && config.memory_bytes <= kMaxMemoryBytes,
                "a VM has memory within its limits");
    FTVMM_CHECK(config.cmdline.size() <= kMaxCmdlineLength, "a command line fits");
    FTVMM_CHECK(is_path(config.kernel) && (!config.initrd || is_path(*config.initrd)),
                "a path can be opened");
    FTVMM_CHECK(config.disks.size() <= kMaxDisks && config.nics.size() <= kMaxNics,
                "every device has a slot");
    for (const DiskConfig& disk : config.disks) {
        FTVMM_CHECK(is_path(disk.path) && disk.serial.size() <= kMaxSerialLength,
                    "a disk can be opened and named");
    }
    for (const NicConfig& nic : config.nics) {
        const auto& name = std::visit([](const auto& plug) { return plug.name; }, nic.plug);
        FTVMM_CHECK(!name.empty() && name.size() <= kMaxInterfaceName &&
                        std::ranges::count(config.nics, nic.mac, &NicConfig::mac) == 1,
                    "a card has an address of its own, and a plug");
    }
    FTVMM_CHECK(!config.console.log || is_path(*config.console.log), "a log can be opened");
}

void check(const Problems& problems, std::string_view text) {
    FTVMM_CHECK(!problems.empty(), "what is refused has a reason");
    const auto lines = static_cast<std::uint32_t>(1 + std::ranges::count(text, '\n'));
    for (const Problem& problem : problems) {
        FTVMM_CHECK(problem.line <= lines, "a problem lies in the text");
        FTVMM_CHECK(!problem.what.empty() && problem.text().find('\n') == std::string::npos,
                    "a problem is told in one line");
    }
    FTVMM_CHECK(std::ranges::is_sorted(problems, {}, &Problem::line),
                "problems are told in the order of the file");
}

void run(std::string_view text) {
    const auto config = parse_config(text, "/etc/ftvmm/vm.toml");
    if (config) {
        check(*config);
    } else {
        check(config.error(), text);
    }
}

}  // namespace
}  // namespace ftvmm::config

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::config::run({reinterpret_cast<const char*>(data), size});
    return 0;
}
