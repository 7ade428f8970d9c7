// What an exit of the guest is known by, for people and for a log that traces all of them.
#pragma once

#include <cstdint>
#include <string>

#include "replay/cpu_registers.h"

namespace ftvmm::replay {

// The index is what a log holds: docs/log-format.md.
enum class ExitReason : std::uint8_t {
    kIn,
    kOut,
    kMmioRead,
    kMmioWrite,
    kRdmsr,
    kWrmsr,
    kHalt,
    kWindow,    // The guest can take an interrupt.
    kShutdown,  // A triple fault.
    kOther,     // What no guest goes on from.
};
inline constexpr ExitReason kLastExitReason = ExitReason::kOther;

struct ExitFacts {
    ExitReason reason{};
    std::uint64_t where = 0;   // The port, the address or the MSR; else zero.
    std::uint64_t detail = 0;  // What else the machine tells exits of one reason apart by.
    CpuRegisters registers{};  // Before the exit is answered.
    bool operator==(const ExitFacts&) const = default;
};

// Whether a register's values differ as far as a machine's digest covers them: no control register,
// no segment, and not RFLAGS.RF, which may differ between hosts.
[[nodiscard]] bool is_digested_difference(std::size_t index, const CpuRegisters& one,
                                          const CpuRegisters& other);
// Whether two exits are the same, as far as a digest covers them.
[[nodiscard]] bool is_same_exit(const ExitFacts& one, const ExitFacts& other);

// "out".
[[nodiscard]] const char* name_of(ExitReason reason);
// "out 0x3f8".
[[nodiscard]] std::string describe(const ExitFacts& exit);

}  // namespace ftvmm::replay
