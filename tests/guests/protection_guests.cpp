#include <fmt/format.h>

#include "guest_test.h"
#include "images.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

namespace {

// Page fault error code bits (AMD64 APM vol. 2, 8.4.2).
constexpr std::uint32_t kFaultPresent = 1 << 0;
constexpr std::uint32_t kFaultWrite = 1 << 1;

}  // namespace

Result<void> test_page_fault(const kvm::System& system) {
    constexpr auto kUnmapped = static_cast<std::uint32_t>(SmallGuest::kUnmapped.value());
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::page_fault()));
    FTVMM_TRY(guest.expect_out(0xe0, kFaultWrite));
    FTVMM_TRY(guest.expect_out(0xe0, kUnmapped));
    FTVMM_TRY(guest.expect_out(0xe0, 0x5a5a));
    FTVMM_TRY(guest.expect_out(0xe0, kFaultWrite | kFaultPresent));
    FTVMM_TRY(guest.expect_out(0xe0, kUnmapped));
    FTVMM_TRY(guest.expect_out(0xe0, 0xa5a5));
    return guest.expect_hlt();
}

Result<void> test_ring3(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::ring3()));
    FTVMM_TRY(guest.expect_out(0xe0, 3));
    FTVMM_TRY(guest.expect_out(0xe0, 100000));
    FTVMM_TRY(guest.expect_out(0xe1, 0));
    FTVMM_TRY(guest.expect_out(0xe1, 3));
    return guest.expect_hlt();
}

}  // namespace ftvmm::guests
