// Proofs of what counts: the TSC's rate and the PMU's branches.
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <fstream>
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
    FTVMM_ASSIGN(const std::uint32_t first, guest.expect_out(0xe0));
    const Instant start = clock.now();
    // The measured quantity is time itself: nothing else could be waited for.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    FTVMM_ASSIGN(const std::uint32_t second, guest.expect_out(0xe0));
    const std::chrono::duration<double, std::milli> elapsed = clock.now() - start;
    const double khz = (second - first) / elapsed.count();
    constexpr double kTolerance = 0.2;
    if (std::abs(khz / kKhz - 1) > kTolerance) {
        return fail(fmt::format("asked for {} kHz, the guest's TSC runs at {:.0f} kHz", kKhz, khz));
    }
    return fmt::format("the guest's TSC runs at the {} kHz asked for", kKhz);
}

namespace {

// Retired conditional branches, user and guest alike.
//   Intel BR_INST_RETIRED.CONDITIONAL (SDM vol. 3, 20.3): event 0xc4, umask 0x01.
//   AMD ex_ret_cond (PPR, PMCx0D1): event 0xd1.
constexpr std::uint64_t kIntelConditionalBranches = 0x1c4;
constexpr std::uint64_t kAmdConditionalBranches = 0xd1;

bool is_amd() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.starts_with("vendor_id")) return line.find("AuthenticAMD") != std::string::npos;
    }
    return false;
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

Result<Fd> open_guest_branch_counter() {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_RAW;
    attr.config = is_amd() ? kAmdConditionalBranches : kIntelConditionalBranches;
    attr.pinned = 1;
    attr.exclude_host = 1;
    const long fd = ::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) return fail(why_no_counter(errno));
    return Fd(static_cast<int>(fd));
}

}  // namespace

Result<std::string> branch_counter(const kvm::System& system) {
    constexpr std::uint32_t kTurns = 100000;
    constexpr int kRuns = 5;
    FTVMM_ASSIGN(const Fd counter, open_guest_branch_counter());
    FTVMM_ASSIGN(SmallGuest guest, SmallGuest::create(system, images::probe_straight()));
    for (int run = 0; run < kRuns; ++run) {
        FTVMM_TRY(guest.expect_in(0xe0, kTurns));
        ::ioctl(counter.get(), PERF_EVENT_IOC_RESET, 0);
        FTVMM_TRY(guest.expect_out(0xe1));
        std::uint64_t branches = 0;
        if (::read(counter.get(), &branches, sizeof branches) != sizeof branches) {
            return fail("the PMU's counter is taken: it could not be read");
        }
        // The loop's branches, taken or not, are the only conditional ones in that stretch.
        if (branches != kTurns) {
            return fail(fmt::format("{} branches were counted as {}", kTurns, branches));
        }
    }
    return fmt::format("{} branches were counted as such, {} times over", kTurns, kRuns);
}

}  // namespace ftvmm::proofs
