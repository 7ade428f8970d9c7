#include "vmm/machine/interrupts.h"

#include <array>
#include <cstddef>

namespace ftvmm::machine {

namespace {

// MSR_KVM_PV_EOI_EN: bit 0 enables, bit 1 is reserved, the rest is the address.
constexpr std::uint64_t kPvEoiEnabled = 1;
constexpr std::uint64_t kPvEoiReserved = 2;
// KVM_PV_EOI_BIT of the guest's word.
constexpr std::byte kFlag{1};

// An MSI's address and data (Intel SDM volume 3, "Message Signalled Interrupts").
constexpr std::uint64_t kMsiBase = 0xfee0'0000;
constexpr std::uint64_t kMsiBaseMask = 0xfff0'0000;
constexpr unsigned kDestinationShift = 12;
constexpr std::uint32_t kDestinationMask = 0xff;
constexpr std::uint32_t kBroadcast = 0xff;
constexpr std::uint64_t kLogicalDestination = 1U << 2U;
constexpr std::uint32_t kDeliveryMask = 0x700;
constexpr std::uint32_t kLowestPriority = 0x100;

bool is_for_this_cpu(const pci::MsiMessage& message) {
    if ((message.address & kMsiBaseMask) != kMsiBase || message.address >> 32U != 0) return false;
    const auto destination =
        static_cast<std::uint32_t>(message.address >> kDestinationShift) & kDestinationMask;
    const bool to_us = (message.address & kLogicalDestination) != 0
                           ? (destination & 1U) != 0
                           : destination == 0 || destination == kBroadcast;
    const std::uint32_t delivery = message.data & kDeliveryMask;
    return to_us && (delivery == 0 || delivery == kLowestPriority);
}

}  // namespace

Result<Interrupts> Interrupts::from_state(const State& state, const virtio::Dma& dma) {
    FTVMM_ASSIGN(auto pic, dev::Pic8259::from_state(state.pic));
    FTVMM_ASSIGN(auto apic, dev::X2Apic::from_state(state.apic));
    if ((state.pv_eoi_msr & kPvEoiReserved) != 0) {
        return fail("the paravirtual EOI register has a reserved bit set");
    }
    Interrupts interrupts(pic, apic);
    interrupts.pv_eoi_msr_ = state.pv_eoi_msr;
    interrupts.flag_set_ = state.flag_set;
    const auto flag = interrupts.flag_address();
    if (state.flag_set && !flag) return fail("an EOI flag is out although the guest has none");
    if (flag && !dma.contains(*flag, sizeof(std::uint32_t))) {
        return fail("the paravirtual EOI flag is not in the guest's memory");
    }
    return interrupts;
}

Interrupts::State Interrupts::state() const {
    return {pic_.state(), apic_.state(), pv_eoi_msr_, flag_set_};
}

std::optional<Gpa> Interrupts::flag_address() const {
    if ((pv_eoi_msr_ & kPvEoiEnabled) == 0) return std::nullopt;
    return Gpa(pv_eoi_msr_ & ~std::uint64_t{3});
}

void Interrupts::settle(virtio::Dma& dma) {
    if (!flag_set_) return;
    const auto word = dma.read(*flag_address(), 1);
    if (!word.empty() && (word[0] & kFlag) != std::byte{}) return;
    flag_set_ = false;
    apic_.elided_eoi();
}

void Interrupts::take_flag_back(virtio::Dma& dma) {
    settle(dma);
    if (!flag_set_) return;
    flag_set_ = false;
    const auto word = dma.read(*flag_address(), 1);
    const std::array cleared{word[0] & ~kFlag};
    (void)dma.write(*flag_address(), cleared);
}

void Interrupts::pulse(unsigned irq) {
    pic_.set_line(irq, true);
    pic_.set_line(irq, false);
}

void Interrupts::deliver(virtio::Dma& dma, const pci::MsiMessage& message) {
    if (!is_for_this_cpu(message)) return;
    take_flag_back(dma);
    apic_.accept(static_cast<std::uint8_t>(message.data));
}

void Interrupts::advance(virtio::Dma& dma, GuestTime now) {
    if (const auto due = apic_.next_deadline(); !due || *due > now) return;
    take_flag_back(dma);
    (void)apic_.advance(now);
}

std::optional<GuestTime> Interrupts::next_deadline() const {
    // With the flag out it may have ended already.
    if (apic_.holds_tick() && !flag_set_) return std::nullopt;
    return apic_.next_deadline();
}

bool Interrupts::is_pending() const {
    return (apic_.accepts_extint() && pic_.pending().has_value()) || apic_.pending().has_value();
}

std::uint8_t Interrupts::acknowledge(virtio::Dma& dma) {
    if (apic_.accepts_extint() && pic_.pending()) return pic_.acknowledge();
    // What nests needs its own EOI, and so does what it interrupted.
    take_flag_back(dma);
    const std::uint8_t vector = apic_.acknowledge();
    const auto address = flag_address();
    if (address && apic_.may_elide_eoi()) {
        const std::array flag{kFlag};
        flag_set_ = dma.write(*address, flag);
    }
    return vector;
}

std::optional<std::uint64_t> Interrupts::read_msr(std::uint32_t msr, GuestTime now) const {
    if (msr == kPvEoiMsr) return pv_eoi_msr_;
    return apic_.read(msr, now);
}

bool Interrupts::write_msr(virtio::Dma& dma, std::uint32_t msr, std::uint64_t value,
                           GuestTime now) {
    // Setting the timer raises nothing by itself; every other write may.
    if (!msr_needs_time(msr)) take_flag_back(dma);
    if (msr != kPvEoiMsr) return apic_.write(msr, value, now);
    if ((value & kPvEoiReserved) != 0) return false;
    const bool enabled = (value & kPvEoiEnabled) != 0;
    if (enabled && !dma.contains(Gpa(value & ~std::uint64_t{3}), sizeof(std::uint32_t))) {
        return false;
    }
    pv_eoi_msr_ = value;
    return true;
}

bool Interrupts::msr_needs_time(std::uint32_t msr) {
    constexpr std::uint32_t kLvtTimer = 0x832;
    constexpr std::uint32_t kInitialCount = 0x838;
    constexpr std::uint32_t kCurrentCount = 0x839;
    constexpr std::uint32_t kDivide = 0x83e;
    return msr == kLvtTimer || msr == kInitialCount || msr == kCurrentCount || msr == kDivide;
}

}  // namespace ftvmm::machine
