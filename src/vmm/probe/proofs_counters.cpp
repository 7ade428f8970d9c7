// Proofs of what counts: the TSC's rate and the PMU's branches.
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <span>
#include <thread>

#include "base/clock.h"
#include "base/fd.h"
#include "vmm/probe/images.h"
#include "vmm/probe/proofs.h"
#include "vmm/probe/small_guest.h"

namespace ftvmm::proofs {

Result<std::string> tsc_control(const kvm::System& system) {
    constexpr std::uint32_t kKhz = 1000;
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_tsc()));
    FTVMM_TRY(guest.vcpu().set_tsc_khz(kKhz));
    const SystemClock clock;
    const Instant before_first = clock.now();
    FTVMM_ASSIGN(const std::uint32_t first, guest.expect_out(0xe0));
    const Instant after_first = clock.now();
    // The measured quantity is time itself: nothing else could be waited for.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const Instant before_second = clock.now();
    FTVMM_ASSIGN(const std::uint32_t second, guest.expect_out(0xe0));
    const Instant after_second = clock.now();
    // The two readings lie somewhere in their exits, however long those took: kHz are ticks per ms.
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const double ticks = second - first;
    const double least = Milliseconds(before_second - after_first).count() * kKhz;
    const double most = Milliseconds(after_second - before_first).count() * kKhz;
    constexpr double kTolerance = 0.05;  // Of the scaling ratio and of the clocks.
    if (ticks < least * (1 - kTolerance) || ticks > most * (1 + kTolerance)) {
        return fail(
            fmt::format("asked for {} kHz, the guest's TSC made {} ticks where {:.0f} to "
                        "{:.0f} were due",
                        kKhz, ticks, least, most));
    }
    return fmt::format("the guest's TSC runs at the {} kHz asked for", kKhz);
}

namespace {

// What may count retired conditional branches, taken or not; the proof finds out which one does.
// Intel's BR_INST_RETIRED with the umask for conditional ones: 0x11 since Ice Lake, 0x01 before
// (where it later means taken ones only), 0x7e on Atom and efficiency cores (perfmon event lists).
// AMD since Zen, and Hygon: ex_ret_cond (PPR, PMCx0D1).
constexpr std::array<std::uint64_t, 3> kIntelEvents{0x11c4, 0x1c4, 0x7ec4};
constexpr std::array<std::uint64_t, 1> kAmdEvents{0xd1};

std::span<const std::uint64_t> candidate_events() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.find("GenuineIntel") != std::string::npos) return kIntelEvents;
    }
    return kAmdEvents;
}

std::string why_no_counter(int error_number) {
    switch (error_number) {
        case ENOENT:
        case ENODEV:
        case EOPNOTSUPP:
            return "the processor shows this kernel no PMU";
        case EACCES:
        case EPERM:
            return "perf is forbidden here (kernel.perf_event_paranoid)";
        default:
            return Error::from_errno(error_number, "perf_event_open").what();
    }
}

Result<Fd> open_guest_counter(std::uint64_t event) {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_RAW;
    attr.config = event;
    attr.pinned = 1;
    attr.exclude_host = 1;
    const long fd = ::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) return fail(why_no_counter(errno));
    return Fd(static_cast<int>(fd));
}

// Runs probe_branches for `turns`, interrupting it every `slice`, and wants exactly its conditional
// branches counted: two a turn, while all branches would be three and the taken ones about two less
// one in all.
Result<void> count_exactly(const kvm::System& system, const Fd& counter, std::uint32_t turns,
                           std::chrono::microseconds slice) {
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_branches()));
    FTVMM_TRY(guest.expect_in(0xe0, turns));
    ::ioctl(counter.get(), PERF_EVENT_IOC_RESET, 0);
    for (;;) {
        FTVMM_ASSIGN(const kvm::Exit exit, guest.run_for(slice));
        if (std::holds_alternative<kvm::exit::IoOut>(exit)) break;
        if (!std::holds_alternative<kvm::exit::Interrupted>(exit)) {
            return Failure(guest.unexpected("an OUT", exit));
        }
    }
    std::uint64_t branches = 0;
    if (::read(counter.get(), &branches, sizeof branches) != sizeof branches) {
        return fail("the PMU's counter is taken, or not one of this core's: it could not be read");
    }
    const std::uint64_t wanted = std::uint64_t{turns} * 2;
    if (branches == wanted) return {};
    return fail(fmt::format("{} branches were counted as {}", wanted, branches));
}

// Short runs and one long enough for many host interrupts and slices: what counts is exactness
// across exits.
Result<std::string> prove_event(const kvm::System& system, std::uint64_t event) {
    constexpr std::uint32_t kShortTurns = 100000;
    constexpr std::uint32_t kLongTurns = 200000000;
    constexpr std::chrono::milliseconds kSlice{2};
    FTVMM_ASSIGN(const Fd counter, open_guest_counter(event));
    for (int run = 0; run < 3; ++run) {
        FTVMM_TRY(count_exactly(system, counter, kShortTurns, SmallGuest::kPatience));
    }
    FTVMM_TRY(count_exactly(system, counter, kLongTurns, kSlice));
    return fmt::format("event {:#x} counts exactly, across interruptions too", event);
}

}  // namespace

Result<std::string> branch_counter(const kvm::System& system) {
    Result<std::string> last = fail("no event is known for this processor");
    for (const std::uint64_t event : candidate_events()) {
        last = prove_event(system, event);
        if (last) break;
    }
    return last;
}

}  // namespace ftvmm::proofs
