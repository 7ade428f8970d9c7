// Where a guest may stand behind its next instruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "vmm/kvm/kvm_api.h"

namespace ftvmm::machine {

// The processor between two instructions, and what it sees.
struct ProcessorView {
    kvm_regs regs{};
    kvm_sregs sregs{};
    // An interrupt or exception that is delivered before anything else.
    bool has_event = false;
    std::uint8_t interrupt = 0;  // Its vector, if it is an interrupt.
    // As many bytes of linear memory as there are to be read.
    std::function<std::size_t(std::uint64_t, std::span<std::byte>)> read;
    std::function<std::uint64_t(std::uint32_t)> msr;
};

struct NextAddresses {
    // All that can follow in ring 0: the instruction's own ways on, and the handlers of each
    // exception that it may raise. Of ring 3, and of an instruction that leads there: where the
    // kernel is entered from there. For a guest in long mode.
    std::vector<std::uint64_t> addresses;
    // Of the instruction; 0 where there is none that can be read.
    std::size_t length = 0;
};
[[nodiscard]] NextAddresses next_addresses(const ProcessorView& view);

}  // namespace ftvmm::machine
