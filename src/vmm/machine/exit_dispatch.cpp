#include "vmm/machine/exit_dispatch.h"

#include "vmm/machine/msr_policy.h"
#include "vmm/pci/little_endian.h"

namespace ftvmm::machine {

namespace {

using namespace kvm::exit;

void carry_out(const IoIn& in, Platform& platform) {
    for (std::size_t at = 0; at + in.size <= in.data.size(); at += in.size) {
        pci::store(in.data.subspan(at), in.size, platform.read_port(in.port, in.size));
    }
}

void carry_out(const IoOut& out, Platform& platform) {
    for (std::size_t at = 0; at + out.size <= out.data.size(); at += out.size) {
        const auto value = static_cast<std::uint32_t>(pci::load(out.data.subspan(at), out.size));
        platform.write_port(out.port, out.size, value);
    }
}

void carry_out(const MmioRead& read, Platform& platform) {
    const auto size = static_cast<std::uint8_t>(read.data.size());
    pci::store(read.data, size, platform.read_memory(read.address, size));
}

void carry_out(const MmioWrite& write, Platform& platform) {
    const auto size = static_cast<std::uint8_t>(write.data.size());
    platform.write_memory(write.address, size, pci::load(write.data, size));
}

void carry_out(const Rdmsr& read, Platform& platform) {
    const auto value = Platform::has_msr(read.index) ? platform.read_msr(read.index)
                                                     : read_constant_msr(read.index);
    *read.value = value.value_or(0);
    *read.fault = value ? 0 : 1;
}

void carry_out(const Wrmsr& write, Platform& platform) {
    const bool done = Platform::has_msr(write.index) ? platform.write_msr(write.index, write.value)
                                                     : write_constant_msr(write.index, write.value);
    *write.fault = done ? 0 : 1;
}

template <class NoAccess>
void carry_out(const NoAccess& /*exit*/, Platform& /*platform*/) {}

}  // namespace

bool needs_time(const kvm::Exit& exit) {
    if (const auto* in = std::get_if<IoIn>(&exit)) {
        return Platform::port_needs_time(in->port, in->size);
    }
    if (const auto* out = std::get_if<IoOut>(&exit)) {
        return Platform::port_needs_time(out->port, out->size);
    }
    if (const auto* read = std::get_if<Rdmsr>(&exit)) {
        return Platform::msr_needs_time(read->index);
    }
    if (const auto* write = std::get_if<Wrmsr>(&exit)) {
        return Platform::msr_needs_time(write->index);
    }
    return false;
}

void dispatch(const kvm::Exit& exit, Platform& platform) {
    std::visit([&platform](const auto& access) { carry_out(access, platform); }, exit);
}

}  // namespace ftvmm::machine
