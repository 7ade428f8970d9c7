#include "vmm/probe/measure.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "vmm/probe/images.h"
#include "vmm/probe/run_limit.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm {

namespace {

using Microseconds = std::chrono::duration<double, std::micro>;
using Seconds = std::chrono::duration<double>;

}  // namespace

Result<double> measure_exit_us(const kvm::System& system, const Clock& clock) {
    constexpr std::size_t kBatches = 15;
    constexpr int kExitsPerBatch = 100;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_exits()));
    FTVMM_TRY(guest.expect_out(0xe0));  // The first exit pays for the guest's pages.
    FTVMM_ASSIGN(const RunLimit limit, RunLimit::start(SmallGuest::kPatience));
    std::array<double, kBatches> batches{};
    for (double& batch : batches) {
        const Instant start = clock.now();
        for (int i = 0; i < kExitsPerBatch; ++i) {
            FTVMM_ASSIGN(const kvm::Exit exit, guest.vcpu().run());
            const bool interrupted = std::holds_alternative<kvm::exit::Interrupted>(exit);
            if (!std::holds_alternative<kvm::exit::IoOut>(exit) &&
                (!interrupted || limit.passed())) {
                return Failure(guest.unexpected("an OUT", exit));
            }
        }
        batch = Microseconds(clock.now() - start).count() / kExitsPerBatch;
    }
    std::ranges::nth_element(batches, batches.begin() + kBatches / 2);
    return batches[kBatches / 2];
}

Result<double> measure_million_instructions_per_s(const kvm::System& system, const Clock& clock) {
    // Long against an exit and a scheduler's tick, short enough to wait for.
    constexpr Seconds kEnough{0.1};
    constexpr int kSamples = 3;
    constexpr std::uint32_t kFirstTurns = 1000;
    constexpr std::uint32_t kMostTurns = 1U << 31;
    constexpr double kInstructionsPerTurn = 2;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_straight()));
    for (std::uint32_t turns = kFirstTurns;; turns *= 2) {
        // The fastest of a few: a stall of the host makes a sample longer, nothing makes it
        // shorter.
        Seconds fastest = Seconds::max();
        for (int sample = 0; sample < kSamples; ++sample) {
            FTVMM_TRY(guest.expect_in(0xe0, turns));
            const Instant start = clock.now();
            FTVMM_TRY(guest.expect_out(0xe1));
            fastest = std::min<Seconds>(fastest, clock.now() - start);
            if (fastest < kEnough) break;
        }
        if (fastest >= kEnough || turns >= kMostTurns / 2) {
            return turns * kInstructionsPerTurn / fastest.count() / 1e6;
        }
    }
}

}  // namespace ftvmm
