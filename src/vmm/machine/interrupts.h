// The guest's interrupts: two 8259 for the legacy lines, an x2APIC for the rest, and the short cut
// that spares the guest its EOI.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "vmm/dev/pic_8259.h"
#include "vmm/dev/x2apic.h"
#include "vmm/pci/msix.h"
#include "vmm/virtio/dma.h"

namespace ftvmm::machine {

// KVM's paravirtual EOI (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN): the guest names a
// word of its memory. Where ending the interrupt would do nothing else, the machine sets the flag
// there as the guest takes it; the guest then clears the flag and writes no EOI, and the machine
// sees that at the next landmark.
//
// flag      event                                    next
// off       the guest takes a lone interrupt         set
// set       landmark, the guest has cleared it       off, the interrupt has ended
// set       another interrupt is accepted            off, the machine clears it: a real EOI comes
//
// All of it is pure but for the flag's byte, which goes through Dma. One thread.
class Interrupts {
  public:
    static constexpr std::uint32_t kPvEoiMsr = 0x4b564d04;

    struct State {
        dev::Pic8259::State pic;
        dev::X2Apic::State apic;
        std::uint64_t pv_eoi_msr = 0;
        bool flag_set = false;

        bool operator==(const State&) const = default;
    };

    Interrupts() = default;
    // `dma` reaches the memory of the same machine.
    static Result<Interrupts> from_state(const State& state, const virtio::Dma& dma);
    [[nodiscard]] State state() const;

    // Notices what the guest did with the flag. First thing at every landmark.
    void settle(virtio::Dma& dma);

    // Legacy line `irq` (not 2) is at `level`; pulse() is one edge.
    void set_line(unsigned irq, bool level) { pic_.set_line(irq, level); }
    void pulse(unsigned irq);
    // A device's message: what is no interrupt of this CPU goes nowhere.
    void deliver(virtio::Dma& dma, const pci::MsiMessage& message);
    // Lets the APIC's timer expire.
    void advance(virtio::Dma& dma, GuestTime now);
    // Nothing while the guest has yet to end, by an exit, the tick before.
    [[nodiscard]] std::optional<GuestTime> next_deadline() const;

    // Whether the CPU has an interrupt to take, and taking it: its vector.
    [[nodiscard]] bool is_pending() const;
    [[nodiscard]] std::uint8_t acknowledge(virtio::Dma& dma);
    [[nodiscard]] bool take_nmi() { return apic_.take_nmi(); }

    // RDMSR and WRMSR of the x2APIC and of kPvEoiMsr; nothing and false mean #GP.
    [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr, GuestTime now) const;
    [[nodiscard]] bool write_msr(virtio::Dma& dma, std::uint32_t msr, std::uint64_t value,
                                 GuestTime now);
    // Whether that access depends on the time or changes what comes of it.
    [[nodiscard]] static bool msr_needs_time(std::uint32_t msr);

    [[nodiscard]] dev::Pic8259& pic() { return pic_; }
    [[nodiscard]] const dev::Pic8259& pic() const { return pic_; }

  private:
    Interrupts(dev::Pic8259 pic, dev::X2Apic apic) : pic_(pic), apic_(apic) {}
    [[nodiscard]] std::optional<Gpa> flag_address() const;
    void take_flag_back(virtio::Dma& dma);

    dev::Pic8259 pic_;
    dev::X2Apic apic_;
    std::uint64_t pv_eoi_msr_ = 0;
    bool flag_set_ = false;
};

}  // namespace ftvmm::machine
