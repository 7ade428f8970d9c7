// A running hash over everything that leaves the guest and all that it is given: the witness that
// two runs are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "replay/input.h"
#include "vmm/kvm/exit.h"
#include "vmm/kvm/kvm_api.h"

namespace ftvmm::machine {

class ExitDigest {
  public:
    ExitDigest() = default;
    ExitDigest(std::uint64_t value, std::uint64_t given) : value_(value), given_(given) {}

    // Takes in one exit, before it is answered, with the registers that came with it. RFLAGS.RF is
    // left out: it may differ between hosts after an exit.
    void add(const kvm::Exit& exit, const kvm_regs& regs);
    // Takes in what the guest was told, once it is known: an access that reads, or that faults.
    void add_answer(const kvm::Exit& exit);
    // Takes in what the guest is given at the landmark where it stands. It is part of the next
    // exit: so value() changes with exits alone, and one that is new tells of an exit that is.
    void add_input(const replay::Input& input);
    [[nodiscard]] std::uint64_t value() const { return value_; }
    // Of what was given since the last exit; 0: nothing.
    [[nodiscard]] std::uint64_t given() const { return given_; }

    // What identifies the exit that add() was given last, without its registers and what it
    // carried.
    struct LastExit {
        std::size_t kind = std::variant_npos;  // As an index of kvm::Exit; none: no exit yet.
        std::uint64_t where = 0;
        std::uint64_t how = 0;
    };
    [[nodiscard]] const LastExit& last() const { return last_; }

  private:
    std::uint64_t value_ = 0;
    std::uint64_t given_ = 0;
    LastExit last_;
};

}  // namespace ftvmm::machine
