// Stretches of the guest's memory, and whether they have changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "debug/target.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::node {

// A stretch is where its linear address led when it was first looked up with success, whatever the
// guest maps there later: so one of a program is not taken for another program's.
class WatchSet {
  public:
    void add(const debug::Watch& watch) { stretches_.push_back({watch, {}, {}}); }
    void remove(const debug::Watch& watch);
    [[nodiscard]] bool empty() const { return stretches_.empty(); }

    // Which stretch holds something else than at the last call, if any. The first call, and the
    // first that finds a stretch, only take what it holds.
    [[nodiscard]] std::optional<std::uint64_t> changed(const machine::KvmMachine& machine);

  private:
    struct Stretch {
        debug::Watch watch;
        std::vector<Gpa> place;  // Of each byte; none: not found yet.
        std::vector<std::byte> bytes;
    };
    static void find(Stretch& stretch, const machine::KvmMachine& machine);
    static std::vector<std::byte> read(const Stretch& stretch, const machine::KvmMachine& machine);

    std::vector<Stretch> stretches_;
};

}  // namespace ftvmm::node
