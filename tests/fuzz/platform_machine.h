// The guest's machine without its processor, under a guest and a world that may do anything.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "../unit/machine/platform_driver.h"
#include "fuzz_input.h"
#include "vmm/machine/platform.h"

namespace ftvmm::fuzz {

// All that one step let out.
struct Seen {
    std::vector<std::uint64_t> numbers;
    std::vector<std::vector<std::byte>> bytes;
    std::vector<std::uint64_t> pages;  // That the platform wrote.
    bool operator==(const Seen&) const = default;
};

// Accesses come as the vCPU's exits bring them, inputs as the host gives them, and drivers are sane
// where they are asked to be. Each step checks what must hold of itself.
class PlatformMachine {
  public:
    static machine::VirtioConfig config();

    PlatformMachine();

    // Carries out the step that comes next in `input`.
    Seen step(FuzzInput& input);
    [[nodiscard]] machine::Platform::State state() const { return platform_->state(); }
    [[nodiscard]] const GuestMemory& memory() const { return memory_; }
    // Goes on with a platform made from the state of `other`'s, with whom it has lived alike.
    void restore_from(const PlatformMachine& other);
    // The same with a state of any origin; false where the platform refuses it. The memory is left
    // as it is.
    [[nodiscard]] bool restore(const machine::Platform::State& state);
    // Whether platform and memory are the same.
    [[nodiscard]] bool equals(const PlatformMachine& other) const;

  private:
    static constexpr std::size_t kDevices = 5;

    void access_port(FuzzInput& input, Seen& seen);
    void access_memory(FuzzInput& input, Seen& seen);
    void access_msr(FuzzInput& input, Seen& seen);
    void write_ram(FuzzInput& input);
    void start(FuzzInput& input);
    void offer(FuzzInput& input);
    void pass_time(FuzzInput& input);
    void give(FuzzInput& input);
    void answer_disk(FuzzInput& input);
    void answer_entropy(FuzzInput& input);
    void look(Seen& seen);
    void take_outputs(Seen& seen);
    void check_written_pages(Seen& seen);
    [[nodiscard]] Gpa take_address(FuzzInput& input);

    GuestMemory memory_;
    std::unique_ptr<machine::Platform> platform_;
    std::array<std::optional<machine::testing::StartedDevice>, kDevices> devices_;
    // Asked for and not answered yet.
    std::vector<replay::output::DiskRequest> disk_requests_;
    std::vector<replay::output::EntropyRequest> entropy_requests_;
    std::vector<std::byte> before_;  // Memory, as the step found it.
};

}  // namespace ftvmm::fuzz
