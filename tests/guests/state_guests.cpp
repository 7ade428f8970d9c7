#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "guest_test.h"
#include "images.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

namespace {

constexpr std::uint32_t kLstar = 0xc0000082;

// Words of the XSAVE area (Intel SDM vol. 1, 13.4): XMM0 and XMM1 of its legacy region, and the
// header's mask of the parts it holds.
constexpr std::size_t kXmm0Word = 40;
constexpr std::size_t kXmm1Word = 44;
constexpr std::size_t kXstateBvWord = 128;
constexpr std::uint32_t kXstateSse = 1 << 1;

Result<void> want(const char* what, std::uint64_t got, std::uint64_t wanted) {
    if (got == wanted) return {};
    return fail(fmt::format("wanted {:#x} in {}, got {:#x}", wanted, what, got));
}

Result<void> set_state(const kvm::Vcpu& vcpu) {
    kvm_msr_entry lstar{};
    lstar.index = kLstar;
    lstar.data = 0xffff822233334444;
    FTVMM_TRY(vcpu.set_msrs(std::span(&lstar, 1)));
    FTVMM_ASSIGN(kvm_debugregs debug, vcpu.get_debugregs());
    debug.db[0] = 0xabcd;
    return vcpu.set_debugregs(debug);
}

// What the guest left behind, read by each call that carries it.
Result<void> check_state(const kvm::Vcpu& vcpu) {
    FTVMM_ASSIGN(const auto msrs, vcpu.get_msrs(std::array{kLstar}));
    FTVMM_TRY(want("LSTAR", msrs.at(0).data, 0xffff866677778888));
    FTVMM_ASSIGN(const kvm_debugregs debug, vcpu.get_debugregs());
    FTVMM_TRY(want("DR0", debug.db[0], 0xabcd));
    return want("DR1", debug.db[1], 0x1234);
}

// One MSR among others that no KVM knows: named, and the one before it set.
Result<void> check_unknown_msr(const kvm::Vcpu& vcpu) {
    constexpr std::uint32_t kUnknown = 0x4b564dff;
    if (vcpu.get_msrs(std::array{kLstar, kUnknown})) return fail("KVM_GET_MSRS knows 0x4b564dff");
    std::array<kvm_msr_entry, 2> entries{};
    entries[0].index = kLstar;
    entries[0].data = 0x42;
    entries[1].index = kUnknown;
    auto set = vcpu.set_msrs(entries);
    if (set) return fail("KVM_SET_MSRS knows 0x4b564dff");
    if (set.error().what().find("MSR 0x4b564dff") == std::string::npos) return set;
    FTVMM_ASSIGN(const auto lstar, vcpu.get_msrs(std::array{kLstar}));
    return want("LSTAR", lstar.at(0).data, 0x42);
}

Result<void> check_xcrs(const kvm::Vcpu& vcpu) {
    FTVMM_ASSIGN(kvm_xcrs xcrs, vcpu.get_xcrs());
    if (xcrs.nr_xcrs == 0) {
        fmt::print("this host has no XCR0\n");
        return {};
    }
    constexpr std::uint64_t kX87AndSse = 3;
    xcrs.xcrs[0].value = kX87AndSse;
    FTVMM_TRY(vcpu.set_xcrs(xcrs));
    FTVMM_ASSIGN(const kvm_xcrs now, vcpu.get_xcrs());
    return want("XCR0", now.xcrs[0].value, kX87AndSse);
}

}  // namespace

Result<void> test_vcpu_state(const kvm::System& system) {
    FTVMM_ASSIGN(const auto indices, system.get_msr_index_list());
    if (std::ranges::find(indices, kLstar) == indices.end()) {
        return fail(fmt::format("LSTAR is not among the {} MSRs listed", indices.size()));
    }
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::vcpu_state()));
    FTVMM_TRY(set_state(guest.vcpu()));
    FTVMM_TRY(guest.expect_out(0xe0, 0x33334444));
    FTVMM_TRY(guest.expect_out(0xe0, 0xffff8222));
    FTVMM_TRY(guest.expect_out(0xe0, 0xabcd));
    FTVMM_TRY(guest.expect_hlt());
    FTVMM_TRY(check_state(guest.vcpu()));
    FTVMM_TRY(check_unknown_msr(guest.vcpu()));
    return check_xcrs(guest.vcpu());
}

Result<void> test_xmm_state(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::xmm_state()));
    const kvm::Vcpu& vcpu = guest.vcpu();
    FTVMM_ASSIGN(kvm_xsave before, vcpu.get_xsave());
    before.region[kXmm0Word] = 0x55aa66bb;
    before.region[kXstateBvWord] |= kXstateSse;
    FTVMM_TRY(vcpu.set_xsave(before));
    FTVMM_TRY(guest.expect_out(0xe0, 0x55aa66bb));
    FTVMM_TRY(guest.expect_hlt());
    FTVMM_ASSIGN(const kvm_xsave after, vcpu.get_xsave());
    FTVMM_TRY(want("XMM0", after.region[kXmm0Word], 0x55aa66bb));
    return want("XMM1", after.region[kXmm1Word], 0x99aabbcc);
}

}  // namespace ftvmm::guests
