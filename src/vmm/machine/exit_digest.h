// A running hash over everything that leaves the guest: the witness that two runs are the same.
#pragma once

#include <cstdint>

#include "vmm/kvm/exit.h"
#include "vmm/kvm/kvm_api.h"

namespace ftvmm::machine {

class ExitDigest {
  public:
    ExitDigest() = default;
    explicit ExitDigest(std::uint64_t value) : value_(value) {}

    // Takes in one exit, before it is answered, with the registers that came with it. RFLAGS.RF is
    // left out: it may differ between hosts after an exit.
    void add(const kvm::Exit& exit, const kvm_regs& regs);
    // Takes in what the guest was told, once it is known: an access that reads, or that faults.
    void add_answer(const kvm::Exit& exit);
    [[nodiscard]] std::uint64_t value() const { return value_; }

  private:
    std::uint64_t value_ = 0;
};

}  // namespace ftvmm::machine
