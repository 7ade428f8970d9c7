#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/clock.h"
#include "guest_test.h"
#include "images.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::guests {

namespace {

// The recurrence of compute.S.
std::uint64_t sum_after(std::uint64_t turns) {
    std::uint64_t sum = 0x12345678;
    for (std::uint64_t i = 0; i < turns; ++i)
        sum = sum * 6364136223846793005U + 1442695040888963407U;
    return sum;
}

Result<void> expect_sum(SmallGuest& guest, std::uint64_t turns) {
    const std::uint64_t sum = sum_after(turns);
    FTVMM_TRY(guest.expect_out(0xe1, static_cast<std::uint32_t>(sum)));
    FTVMM_TRY(guest.expect_out(0xe1, static_cast<std::uint32_t>(sum >> 32)));
    return guest.expect_hlt();
}

Result<void> ask_for(SmallGuest& guest, std::uint64_t turns) {
    FTVMM_TRY(guest.expect_in(0xe0, static_cast<std::uint32_t>(turns)));
    return guest.expect_in(0xe0, static_cast<std::uint32_t>(turns >> 32));
}

using Seconds = std::chrono::duration<double>;

// How many turns take this host about `wanted`. The fastest of three samples counts: a stall of the
// host makes one longer.
Result<std::uint64_t> turns_for(SmallGuest& guest, Seconds wanted) {
    constexpr Seconds kEnough{0.05};
    const SystemClock clock;
    for (std::uint64_t turns = 1000;; turns *= 2) {
        Seconds fastest = Seconds::max();
        for (int sample = 0; sample < 3; ++sample) {
            FTVMM_TRY(ask_for(guest, turns));
            const Instant start = clock.now();
            FTVMM_TRY(expect_sum(guest, turns));
            fastest = std::min<Seconds>(fastest, clock.now() - start);
            if (fastest < kEnough) break;
        }
        if (fastest >= kEnough) {
            return static_cast<std::uint64_t>(static_cast<double>(turns) * (wanted / fastest));
        }
    }
}

}  // namespace

Result<void> test_compute(const kvm::System& system) {
    constexpr Seconds kLong{2};
    constexpr std::chrono::milliseconds kBetweenInterruptions{20};
    constexpr int kInterruptions = 10;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::compute()));
    FTVMM_ASSIGN(const std::uint64_t turns, turns_for(guest, kLong));
    FTVMM_TRY(ask_for(guest, turns));
    for (int i = 0; i < kInterruptions; ++i) {
        FTVMM_ASSIGN(const kvm::Exit exit, guest.run_for(kBetweenInterruptions));
        if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) {
            return Failure(guest.unexpected("no exit within the loop", exit));
        }
    }
    return expect_sum(guest, turns);
}

Result<void> test_rdtsc(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::rdtsc()));
    std::array<std::uint64_t, 2> readings{};
    for (std::uint64_t& reading : readings) {
        FTVMM_ASSIGN(const std::uint64_t low, guest.expect_out(0xe0));
        FTVMM_ASSIGN(const std::uint64_t high, guest.expect_out(0xe0));
        reading = high << 32 | low;
    }
    if (readings[1] < readings[0]) {
        return fail(fmt::format("the TSC went from {:#x} to {:#x}", readings[0], readings[1]));
    }
    return guest.expect_hlt();
}

Result<void> test_self_modifying(const kvm::System& system) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::self_modifying()));
    FTVMM_ASSIGN(const std::uint32_t operand, guest.expect_out(0xe1));
    FTVMM_TRY(guest.expect_out(0xe0, 200 * 201 / 2));
    const std::uint32_t seven = 7;
    if (!guest.memory().write(Gpa(operand), std::as_bytes(std::span(&seven, 1)))) {
        return fail("the operand does not lie in RAM");
    }
    FTVMM_TRY(guest.expect_out(0xe0, 7));
    return guest.expect_hlt();
}

}  // namespace ftvmm::guests
