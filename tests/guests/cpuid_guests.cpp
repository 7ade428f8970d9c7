#include <fmt/format.h>

#include <array>
#include <span>

#include "guest_test.h"
#include "images.h"
#include "vmm/boot/cpu_features.h"
#include "vmm/boot/cpu_model.h"
#include "vmm/machine/cpuid_entries.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

namespace {

using boot::CpuidLeaf;

// The machine's: at its place, on, in x2APIC mode, of the first processor.
constexpr std::uint64_t kApicBase = 0xfee00d00;

Result<std::vector<CpuidLeaf>> leaves_of_host(const kvm::System& system) {
    FTVMM_ASSIGN(const auto entries, system.get_supported_cpuid());
    return machine::leaves_of(entries);
}

// KVM takes any table, and this guest uses no feature of it: whatever host this is, it may have
// them all.
void grant(std::span<const boot::CpuFeature> features, std::vector<CpuidLeaf>& leaves) {
    for (const auto& feature : features) {
        CpuidLeaf granted{feature.function, feature.index, true};
        for (const CpuidLeaf& leaf : leaves) {
            if (leaf.function == feature.function && leaf.index == feature.index) granted = leaf;
        }
        std::erase(leaves, granted);
        std::array<std::uint32_t CpuidLeaf::*, 4> registers{&CpuidLeaf::eax, &CpuidLeaf::ebx,
                                                            &CpuidLeaf::ecx, &CpuidLeaf::edx};
        granted.*registers.at(static_cast<std::size_t>(feature.reg)) |= 1U << feature.bit;
        leaves.push_back(granted);
    }
}

// The guest sees `leaf` as it is.
Result<void> check_leaf(SmallGuest& guest, const CpuidLeaf& leaf) {
    FTVMM_TRY(guest.expect_in(0xe0, leaf.function));
    FTVMM_TRY(guest.expect_in(0xe0, leaf.index));
    for (const std::uint32_t wanted : {leaf.eax, leaf.ebx, leaf.ecx, leaf.edx}) {
        if (const auto got = guest.expect_out(0xe1, wanted); !got) {
            const std::string place = fmt::format("CPUID {:#x}.{}", leaf.function, leaf.index);
            return Failure(got.error().with_context(place));
        }
    }
    return {};
}

// A guest whose CPUID is `leaves`.
Result<SmallGuest> create_guest(const kvm::System& system, std::span<const CpuidLeaf> leaves) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::cpuid()));
    FTVMM_TRY(guest.vcpu().set_cpuid2(machine::entries_of(leaves)));
    FTVMM_ASSIGN(kvm_sregs sregs, guest.vcpu().get_sregs());
    sregs.apic_base = kApicBase;
    FTVMM_TRY(guest.vcpu().set_sregs(sregs));
    return guest;
}

Result<void> check_model(const kvm::System& system, boot::CpuModel model) {
    FTVMM_ASSIGN(auto host, leaves_of_host(system));
    grant(boot::kV2Features, host);
    grant(boot::kV3Features, host);
    FTVMM_ASSIGN(const auto leaves, boot::make_cpuid(model, host));
    FTVMM_ASSIGN(SmallGuest guest, create_guest(system, leaves));
    for (const CpuidLeaf& leaf : leaves)
        FTVMM_TRY(check_leaf(guest, leaf));
    // Performance counters and invariant TSC: leaves that the model leaves out.
    FTVMM_TRY(check_leaf(guest, CpuidLeaf{0xa}));
    return check_leaf(guest, CpuidLeaf{0x80000007});
}

}  // namespace

// A KVM that lets the guest's CPUID reach the processor in part shows features all the same.
Result<void> keeps_to_cpuid(const kvm::System& system) {
    constexpr std::uint32_t kX2Apic = 1 << 21;
    constexpr std::uint32_t kLongMode = 1 << 29;
    const CpuidLeaf features{1, 0, false, 0, 0, kX2Apic, 0};
    const std::array leaves{CpuidLeaf{0, 0, false, 1}, features,
                            CpuidLeaf{0x80000000, 0, false, 0x80000001},
                            CpuidLeaf{0x80000001, 0, false, 0, 0, 0, kLongMode}};
    FTVMM_ASSIGN(SmallGuest guest, create_guest(system, leaves));
    FTVMM_TRY(guest.expect_in(0xe0, features.function));
    FTVMM_TRY(guest.expect_in(0xe0, features.index));
    FTVMM_TRY(guest.expect_out(0xe1, 0));
    FTVMM_TRY(guest.expect_out(0xe1, 0));
    FTVMM_ASSIGN(const std::uint32_t shown, guest.expect_out(0xe1));
    if (shown == features.ecx) return {};
    return fail(
        fmt::format("the guest's CPUID shows features that it was set to hide (0x1.0 ECX "
                    "{:#x})",
                    shown));
}

Result<void> test_cpuid(const kvm::System& system) {
    FTVMM_TRY(check_model(system, boot::CpuModel::kV2));
    return check_model(system, boot::CpuModel::kV3);
}

}  // namespace ftvmm::guests
