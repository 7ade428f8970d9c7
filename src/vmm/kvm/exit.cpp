#include "vmm/kvm/exit.h"

#include <fmt/format.h>

#include "vmm/kvm/kvm_api.h"

namespace ftvmm::kvm {

namespace {

const char* name_of_suberror(std::uint32_t suberror) {
    switch (suberror) {
        case KVM_INTERNAL_ERROR_EMULATION:
            return "an instruction it cannot emulate";
        case KVM_INTERNAL_ERROR_SIMUL_EX:
            return "an exception while delivering an exception";
        case KVM_INTERNAL_ERROR_DELIVERY_EV:
            return "an exit while delivering an event";
        case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
            return "an exit it does not know";
        default:
            return "a kind it does not name";
    }
}

struct Describe {
    std::string operator()(const exit::IoIn& io) const {
        return fmt::format("IN of {} bytes from port {:#x}", io.data.size(), io.port);
    }
    std::string operator()(const exit::IoOut& io) const {
        return fmt::format("OUT of {} bytes to port {:#x}", io.data.size(), io.port);
    }
    std::string operator()(const exit::MmioRead& mmio) const {
        return fmt::format("MMIO read of {} bytes at {:#x}", mmio.data.size(),
                           mmio.address.value());
    }
    std::string operator()(const exit::MmioWrite& mmio) const {
        return fmt::format("MMIO write of {} bytes at {:#x}", mmio.data.size(),
                           mmio.address.value());
    }
    std::string operator()(const exit::Rdmsr& msr) const {
        return fmt::format("RDMSR of {:#x}", msr.index);
    }
    std::string operator()(const exit::Wrmsr& msr) const {
        return fmt::format("WRMSR of {:#x} to {:#x}", msr.value, msr.index);
    }
    std::string operator()(const exit::Hlt& /*hlt*/) const { return "HLT"; }
    std::string operator()(const exit::IrqWindowOpen& /*window*/) const {
        return "interrupt window open";
    }
    std::string operator()(const exit::Shutdown& /*shutdown*/) const {
        return "shutdown (triple fault)";
    }
    std::string operator()(const exit::Debug& debug) const {
        return fmt::format("debug exception {} at {:#x}, DR6 {:#x}", debug.exception, debug.pc,
                           debug.dr6);
    }
    std::string operator()(const exit::Interrupted& /*interrupted*/) const { return "interrupted"; }
    std::string operator()(const exit::DirtyRingFull& /*full*/) const { return "dirty ring full"; }
    std::string operator()(const exit::FailEntry& entry) const {
        return fmt::format("the processor refused to enter the guest (reason {:#x})",
                           entry.hardware_reason);
    }
    std::string operator()(const exit::InternalError& error) const {
        return fmt::format("KVM gave up on {} (internal error {})",
                           name_of_suberror(error.suberror), error.suberror);
    }
    std::string operator()(const exit::Unexpected& unexpected) const {
        return fmt::format("exit reason {} that ftvmm never asks for", unexpected.reason);
    }
};

}  // namespace

std::string describe(const Exit& exit) {
    return std::visit(Describe{}, exit);
}

}  // namespace ftvmm::kvm
