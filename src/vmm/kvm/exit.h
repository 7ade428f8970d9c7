// Why the guest stopped running: KVM's exit reasons as a sum type.
//
// Spans point into the vCPU's kvm_run page: they are valid until the next call on that vCPU, and an
// IN, an MMIO read and an RDMSR are answered by writing through them before the next run().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "vmm/memory/gpa.h"

namespace ftvmm::kvm {

namespace exit {

// IN or INS: fill `data` (count items of `size` bytes).
struct IoIn {
    std::uint16_t port = 0;
    std::uint8_t size = 0;  // Bytes per item: 1, 2 or 4.
    std::span<std::byte> data;
};
// OUT or OUTS.
struct IoOut {
    std::uint16_t port = 0;
    std::uint8_t size = 0;
    std::span<const std::byte> data;
};
// A load from where there is no memory: fill `data`.
struct MmioRead {
    Gpa address;
    std::span<std::byte> data;
};
struct MmioWrite {
    Gpa address;
    std::span<const std::byte> data;
};
// Why an MSR access came to userspace.
enum class MsrReason : std::uint8_t { kInvalid, kUnknown, kFiltered };
// RDMSR: write `*value`, or set `*fault` to 1 for #GP.
struct Rdmsr {
    std::uint32_t index = 0;
    MsrReason reason{};
    std::uint64_t* value = nullptr;
    std::uint8_t* fault = nullptr;
};
// WRMSR: take `value`, or set `*fault` to 1 for #GP.
struct Wrmsr {
    std::uint32_t index = 0;
    MsrReason reason{};
    std::uint64_t value = 0;
    std::uint8_t* fault = nullptr;
};
struct Hlt {};
// The guest can take an interrupt now (request_interrupt_window).
struct IrqWindowOpen {};
// Triple fault or the like. On AMD the vCPU's state is that of a reset by then.
struct Shutdown {};
// Single step or breakpoint (KVM_SET_GUEST_DEBUG).
struct Debug {
    std::uint32_t exception = 0;
    std::uint64_t pc = 0;
    std::uint64_t dr6 = 0;
};
// A signal or immediate_exit ended the run: nothing happened in the guest that counts.
struct Interrupted {};
// A vCPU's dirty ring is nearly full and wants harvesting.
struct DirtyRingFull {};
// The processor refused to enter the guest; the reason is the processor's own.
struct FailEntry {
    std::uint64_t hardware_reason = 0;
};
// KVM gave up, most often on an instruction that it cannot emulate. `words` is KVM's data.
struct InternalError {
    std::uint32_t suberror = 0;
    std::array<std::uint64_t, 16> words{};
    std::uint32_t word_count = 0;
};
// An exit reason that ftvmm does not ask for.
struct Unexpected {
    std::uint32_t reason = 0;
};

}  // namespace exit

using Exit =
    std::variant<exit::IoIn, exit::IoOut, exit::MmioRead, exit::MmioWrite, exit::Rdmsr, exit::Wrmsr,
                 exit::Hlt, exit::IrqWindowOpen, exit::Shutdown, exit::Debug, exit::Interrupted,
                 exit::DirtyRingFull, exit::FailEntry, exit::InternalError, exit::Unexpected>;

// One line for people: "OUT of 1 bytes to port 0x3f8".
std::string describe(const Exit& exit);

}  // namespace ftvmm::kvm
