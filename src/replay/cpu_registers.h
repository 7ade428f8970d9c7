// The registers of the guest's processor that people are told of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ftvmm::replay {

// By the manuals' names. The index is what a log holds: docs/log-format.md.
inline constexpr std::array kCpuRegisterNames{
    "rax", "rbx", "rcx", "rdx", "rsi",     "rdi",     "rsp",    "rbp", "r8",
    "r9",  "r10", "r11", "r12", "r13",     "r14",     "r15",    "rip", "rflags",
    "cr0", "cr2", "cr3", "cr4", "cs.base", "fs.base", "gs.base"};
inline constexpr std::size_t kRip = 16;
inline constexpr std::size_t kRflags = 17;
// A machine's digest covers those before.
inline constexpr std::size_t kDigestedRegisters = 18;

using CpuRegisters = std::array<std::uint64_t, kCpuRegisterNames.size()>;

}  // namespace ftvmm::replay
