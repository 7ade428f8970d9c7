#include "replay/exit_facts.h"

#include <fmt/format.h>

#include <array>

namespace ftvmm::replay {

namespace {

constexpr std::uint64_t kRf = 1U << 16U;

bool has_place(ExitReason reason) {
    return reason <= ExitReason::kWrmsr;
}

}  // namespace

bool is_digested_difference(std::size_t index, const CpuRegisters& one, const CpuRegisters& other) {
    const std::uint64_t ignored = index == kRflags ? kRf : 0;
    return index < kDigestedRegisters && ((one.at(index) ^ other.at(index)) & ~ignored) != 0;
}

bool is_same_exit(const ExitFacts& one, const ExitFacts& other) {
    if (one.reason != other.reason || one.where != other.where || one.detail != other.detail) {
        return false;
    }
    for (std::size_t i = 0; i < kDigestedRegisters; ++i) {
        if (is_digested_difference(i, one.registers, other.registers)) return false;
    }
    return true;
}

const char* name_of(ExitReason reason) {
    static constexpr std::array kNames{"in",    "out",  "mmio read", "mmio write", "rdmsr",
                                       "wrmsr", "halt", "window",    "shutdown",   "other"};
    static_assert(kNames.size() == static_cast<std::size_t>(kLastExitReason) + 1);
    return kNames.at(static_cast<std::size_t>(reason));
}

std::string describe(const ExitFacts& exit) {
    if (!has_place(exit.reason)) return name_of(exit.reason);
    return fmt::format("{} {:#x}", name_of(exit.reason), exit.where);
}

}  // namespace ftvmm::replay
