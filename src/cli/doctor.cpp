#include "cli/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/doctor_report.h"
#include "vmm/kvm/system.h"
#include "vmm/probe/examine.h"

namespace ftvmm::cli {

namespace {

constexpr int kLockstepPossible = 0;
constexpr int kLockstepImpossible = 1;
constexpr int kNoKvm = 2;

// One line on standard error that is overwritten step by step; nothing where nobody watches.
class ProgressLine {
  public:
    void show(std::string_view step) const {
        if (visible_) fmt::print(stderr, "\r\033[Kproving: {}", step);
    }
    void clear() const {
        if (visible_) fmt::print(stderr, "\r\033[K");
    }

  private:
    bool visible_ = ::isatty(STDERR_FILENO) == 1;
};

Result<HostReport> examine(const std::string& device) {
    FTVMM_ASSIGN(const kvm::System system, kvm::System::open(device));
    const ProgressLine line;
    auto report = examine_host(system, [&](std::string_view step) { line.show(step); });
    line.clear();
    return report;
}

}  // namespace

int doctor(const DoctorOptions& options) {
    const auto report = examine(options.device);
    if (!report) {
        fmt::print(stderr, "ftvmm doctor: {}\n", report.error().line());
        return kNoKvm;
    }
    const auto verdicts = judge(*report);
    fmt::print("{}", options.json ? render_json(*report, verdicts)
                                  : render_text(*report, verdicts, ::isatty(STDOUT_FILENO) == 1));
    return lockstep_possible(verdicts) ? kLockstepPossible : kLockstepImpossible;
}

}  // namespace ftvmm::cli
