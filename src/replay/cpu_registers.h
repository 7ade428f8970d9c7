// The registers of the guest's processor that people are told of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ftvmm::replay {

// By the manuals' names.
inline constexpr std::array kCpuRegisterNames{
    "rax", "rbx", "rcx", "rdx", "rsi",     "rdi",     "rsp",    "rbp", "r8",
    "r9",  "r10", "r11", "r12", "r13",     "r14",     "r15",    "rip", "rflags",
    "cr0", "cr2", "cr3", "cr4", "cs.base", "fs.base", "gs.base"};
using CpuRegisters = std::array<std::uint64_t, kCpuRegisterNames.size()>;

}  // namespace ftvmm::replay
