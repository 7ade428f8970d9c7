// One test per small guest: runs it and checks what its source says must be seen.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/kvm/system.h"
#include "vmm/probe/finding.h"

namespace ftvmm::guests {

struct GuestTest {
    const char* name;
    // What the host must be able to do, beyond running a guest at all.
    std::vector<Ability> needs;
    // An error says what was not as it must be.
    Result<void> (*run)(const kvm::System& system);
    // Proves what else the host must be able to do and no Ability names; an error says why not.
    Result<void> (*host_can)(const kvm::System& system) = nullptr;
};

// All of them, in the order of their files.
std::vector<GuestTest> all_guest_tests();

// checkpoint_guests.cpp
Result<void> test_checkpoint(const kvm::System& system);
Result<void> test_checkpoint_plain(const kvm::System& system);
Result<void> can_track_pages(const kvm::System& system);
// compute_guests.cpp
Result<void> test_compute(const kvm::System& system);
Result<void> test_rdtsc(const kvm::System& system);
Result<void> test_self_modifying(const kvm::System& system);
// cpuid_guests.cpp
Result<void> test_cpuid(const kvm::System& system);
Result<void> keeps_to_cpuid(const kvm::System& system);
// interrupt_guests.cpp
Result<void> test_hlt(const kvm::System& system);
Result<void> test_idt_iret(const kvm::System& system);
Result<void> test_interrupt_window(const kvm::System& system);
// io_guests.cpp
Result<void> test_mmio(const kvm::System& system);
Result<void> test_port_echo(const kvm::System& system);
Result<void> test_string_io(const kvm::System& system);
// machine_guests.cpp
Result<void> test_saved_machine(const kvm::System& system);
Result<void> can_power_on(const kvm::System& system);
// protection_guests.cpp
Result<void> test_page_fault(const kvm::System& system);
Result<void> test_ring3(const kvm::System& system);
// state_guests.cpp
Result<void> test_vcpu_state(const kvm::System& system);
Result<void> test_xmm_state(const kvm::System& system);

}  // namespace ftvmm::guests
