// What `ftvmm replay` tells of a guest that came another way than its log says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "replay/cpu_registers.h"
#include "replay/divergence.h"
#include "replay/guest_machine.h"
#include "replay/record.h"

namespace ftvmm::cli {

// What a log tells of the place of a divergence.
struct LogExcerpt {
    // As `ftvmm log show` prints them: the record that the guest was held against, marked, and
    // those before it.
    std::vector<std::string> records;

    // The exit that was recorded where the replayed guest stands; only in a log that traces them.
    std::optional<replay::ExitFacts> exit;
    // The last that is known of the recorded guest's processor before that, in this life: of a
    // checkpoint or of an exit.
    struct Registers {
        replay::Landmark at;
        replay::CpuRegisters values{};
    };
    std::optional<Registers> before;
};

// How many records an excerpt shows before the one that the guest was held against.
inline constexpr std::size_t kRecordsShown = 16;

// Reads the log again, as far as it tells of that place. An error: it can not be read.
[[nodiscard]] Result<LogExcerpt> read_excerpt(const std::string& log,
                                              const replay::Divergence& divergence);

// Several lines. `machine` stands where the replay ended, if there is one.
[[nodiscard]] std::string render_report(const replay::Divergence& divergence,
                                        const LogExcerpt& excerpt,
                                        const replay::GuestMachine* machine);

// Writes `report` to `file`, over what it holds. A new one only its owner may read: a guest's
// registers are in it.
[[nodiscard]] Result<void> write_report(const std::string& file, const std::string& report);

}  // namespace ftvmm::cli
