// A machine comes over from the host where it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "ftlink/frame.h"
#include "pair/clone_wire.h"
#include "vmm/kvm/system.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::pair {

// Takes the frames of one clone. Whatever they hold, an error says what is wrong with them, and
// what they make this allocate is the memory of the guest that was agreed on, and one state. One
// thread.
class CloneTarget {
  public:
    // For a machine of `config` called `identity`.
    static Result<CloneTarget> create(const machine::MachineConfig& config, std::string identity);

    [[nodiscard]] Result<void> step(const ftlink::Frame& frame);
    // All of it is there: make() it.
    [[nodiscard]] bool is_whole() const { return ends_.has_value(); }

    struct Made {
        std::unique_ptr<machine::KvmMachine> machine;
        replay::Seq first;  // Where the log begins.
    };
    // The machine, as it stood; it follows a log from here on. Requires is_whole(); once.
    [[nodiscard]] Result<Made> make(const kvm::System& system);

    // Of all rounds.
    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] const clone_message::Round& round() const { return round_; }

  private:
    CloneTarget(const machine::MachineConfig& config, std::string identity, GuestMemory memory)
        : config_(config), identity_(std::move(identity)), memory_(std::move(memory)) {}
    [[nodiscard]] Result<void> step_control(std::span<const std::byte> payload);
    [[nodiscard]] Result<void> step_pages(std::span<const std::byte> payload);

    machine::MachineConfig config_;
    std::string identity_;
    std::optional<GuestMemory> memory_;  // Until it is the machine's.
    machine::ChunkCodec codec_;
    bool has_begun_ = false;
    clone_message::Round round_;
    std::uint64_t pages_ = 0;
    std::vector<std::byte> state_;
    std::optional<clone_message::Ends> ends_;
};

}  // namespace ftvmm::pair
