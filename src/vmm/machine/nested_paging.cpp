#include "vmm/machine/nested_paging.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <system_error>

namespace ftvmm::machine {

namespace {

bool is_on(const std::filesystem::path& parameter) {
    std::ifstream stream(parameter);
    std::string value;
    stream >> value;
    return value == "Y" || value == "1";
}

}  // namespace

bool has_nested_paging(const std::filesystem::path& modules) {
    constexpr std::array kParameters{"npt", "ept"};
    bool found = false;
    std::error_code error;
    std::filesystem::directory_iterator module(modules, error);
    for (; !error && module != std::filesystem::directory_iterator(); module.increment(error)) {
        // kvm_amd, kvm_intel and what else brings a processor to kvm.
        if (!module->path().filename().string().starts_with("kvm_")) continue;
        const auto folder = module->path() / "parameters";
        const bool is_nested = std::ranges::any_of(
            kParameters, [&](const char* name) { return is_on(folder / name); });
        if (!is_nested) return false;
        found = true;
    }
    return found && !error;
}

}  // namespace ftvmm::machine
