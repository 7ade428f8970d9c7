#include "vmm/kvm/capabilities.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace ftvmm::kvm {

namespace {

std::size_t index_of(int id) {
    const auto found = std::ranges::find(kCapabilities, id, &Capability::id);
    FTVMM_CHECK(found != kCapabilities.end(), "only capabilities of the table are asked for");
    return static_cast<std::size_t>(found - kCapabilities.begin());
}

}  // namespace

Result<Capabilities> Capabilities::probe(const System& system) {
    Capabilities capabilities;
    for (std::size_t i = 0; i < kCapabilities.size(); ++i) {
        FTVMM_ASSIGN(capabilities.values_[i], system.check_extension(kCapabilities[i].id));
    }
    return capabilities;
}

int Capabilities::value(int id) const {
    return values_[index_of(id)];
}

Result<void> Capabilities::require(std::span<const int> ids) const {
    std::string missing;
    for (const int id : ids) {
        const std::size_t index = index_of(id);
        if (values_[index] != 0) continue;
        const Capability& capability = kCapabilities[index];
        missing +=
            fmt::format("{}{} ({})", missing.empty() ? "" : ", ", capability.name, capability.use);
    }
    if (missing.empty()) return {};
    return fail("this host's KVM lacks " + missing, "a later kernel or other hardware may have it");
}

}  // namespace ftvmm::kvm
