// A VM of one vCPU and 8 MiB that runs a small freestanding guest.
//
// The VMM's half of the contract in guests/guest.inc: the image lies at kImage and starts there in
// 64-bit mode, ring 0, interrupts off, with the GDT, page tables and stack that guest.inc names.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm {

class SmallGuest {
  public:
    static constexpr std::uint64_t kRamBytes = 8 << 20;
    static constexpr Gpa kImage{0x100000};
    static constexpr Gpa kScratch{0x400000};     // Free RAM, to the end.
    static constexpr Gpa kMmio{0x20000000};      // Mapped by the page tables, no RAM behind it.
    static constexpr Gpa kUnmapped{0x3fe00000};  // Not mapped by the page tables.
    // Far longer than any stretch of a small guest, short enough to wait for.
    static constexpr std::chrono::milliseconds kPatience{20000};

    struct Options {
        // Flags of the memory slot, as KVM_MEM_LOG_DIRTY_PAGES.
        std::uint32_t slot_flags = 0;
        // Bytes of the vCPU's dirty ring; 0 for none.
        std::uint32_t dirty_ring_bytes = 0;
        // Hand MSR accesses that KVM refuses or `msr_filter` denies to userspace.
        bool user_space_msrs = false;
        kvm_msr_filter* msr_filter = nullptr;
    };

    static Result<SmallGuest> create(const kvm::System& system, std::span<const std::byte> image,
                                     const Options& options);
    static Result<SmallGuest> create(const kvm::System& system, std::span<const std::byte> image) {
        return create(system, image, Options{});
    }

    [[nodiscard]] kvm::Vm& vm() { return vm_; }
    [[nodiscard]] kvm::Vcpu& vcpu() { return vcpu_; }
    [[nodiscard]] const GuestMemory& memory() const { return memory_; }

    // Runs until the guest exits. An error when it has not within kPatience.
    [[nodiscard]] Result<kvm::Exit> run();
    // Runs until the guest exits, or gives Interrupted once `time` has passed.
    [[nodiscard]] Result<kvm::Exit> run_for(std::chrono::microseconds time);

    // Runs to the next exit and demands that it is what is named; an error says what came instead
    // and where. The value of an OUT is that of its one item.
    [[nodiscard]] Result<std::uint32_t> expect_out(std::uint16_t port);
    [[nodiscard]] Result<void> expect_out(std::uint16_t port, std::uint32_t value);
    // Answers an IN of one item with the low bytes of `answer`.
    [[nodiscard]] Result<void> expect_in(std::uint16_t port, std::uint32_t answer);
    [[nodiscard]] Result<void> expect_hlt();
    [[nodiscard]] Result<void> expect_window();
    // Returns the program counter.
    [[nodiscard]] Result<std::uint64_t> expect_debug();

    // The error for an exit that should have been something else.
    [[nodiscard]] Error unexpected(const std::string& wanted, const kvm::Exit& got) const;

  private:
    SmallGuest(GuestMemory memory, kvm::Vm vm, kvm::Vcpu vcpu)
        : memory_(std::move(memory)), vm_(std::move(vm)), vcpu_(std::move(vcpu)) {}

    void lay_out_memory(std::span<const std::byte> image);
    [[nodiscard]] Result<void> start_state();

    // In this order: the vCPU goes before the VM, the VM before the memory it maps.
    GuestMemory memory_;
    kvm::Vm vm_;
    kvm::Vcpu vcpu_;
};

}  // namespace ftvmm
