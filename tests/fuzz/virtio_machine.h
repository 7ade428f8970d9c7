// A virtio device with a driver that may do anything, for fuzzers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "../unit/virtio/driver.h"
#include "fuzz_input.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"

namespace ftvmm::fuzz {

using Device = std::variant<virtio::Blk, virtio::Net, virtio::Rng, virtio::Console>;

// All that one step let out.
struct Reaction {
    virtio::Interrupts interrupts;
    std::vector<std::uint64_t> numbers;
    std::vector<std::vector<std::byte>> bytes;
    std::vector<std::uint64_t> pages;  // That the device wrote.
    bool operator==(const Reaction&) const = default;
};

// One device of each kind, its memory, and a driver that is sane where it is asked to be: without
// one an input would rarely get as far as a chain. Each step checks what must hold of itself.
class VirtioMachine {
  public:
    static constexpr std::uint8_t kKinds = 4;

    explicit VirtioMachine(std::uint8_t kind);  // Below kKinds.

    // Carries out the step that comes next in `input`.
    Reaction step(FuzzInput& input);
    // Goes on with a device made from the state of `other`'s, which must be one that can be.
    void restore_from(const VirtioMachine& other);
    // Whether device and memory are the same.
    [[nodiscard]] bool equals(const VirtioMachine& other) const;

  private:
    [[nodiscard]] virtio::Transport& transport();
    void write_register(FuzzInput& input, Reaction& reaction);
    void read_register(FuzzInput& input, Reaction& reaction);
    void access_config(FuzzInput& input, Reaction& reaction);
    void start(FuzzInput& input);
    void write_memory(FuzzInput& input);
    void offer(FuzzInput& input);
    void answer(FuzzInput& input, Reaction& reaction);
    void react(const pci::Effects& effects, Reaction& reaction);
    void check_written_pages(Reaction& reaction);

    GuestMemory memory_;
    virtio::Dma dma_;
    Device device_;
    std::array<std::optional<virtio::testing::DriverQueue>, 2> queues_;
    std::vector<std::byte> before_;  // Memory, as the step found it.
};

}  // namespace ftvmm::fuzz
