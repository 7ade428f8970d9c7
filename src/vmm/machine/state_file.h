// A machine's state on disk: docs/state-format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"
#include "vmm/machine/checked_file.h"
#include "vmm/machine/machine_state.h"
#include "vmm/memory/guest_memory.h"

namespace ftvmm::machine {

// Writes all of it to `path`, as AtomicFile does.
Result<void> write_state_file(const std::string& path, const EncodedState& state,
                              const GuestMemory& memory);

// A file that is being read. Whatever the file holds, an error says what is wrong with it; nothing
// of it may be used before read_memory() has succeeded, which has then seen every byte.
class StateFile {
  public:
    // Reads what comes before the memory.
    static Result<StateFile> open(const std::string& path);

    [[nodiscard]] const EncodedState& state() const { return state_; }
    // Reads the rest. `memory` is new, so all zero, and of the machine that the state describes.
    [[nodiscard]] Result<void> read_memory(const GuestMemory& memory);

  private:
    StateFile(std::string path, FileReader file) : path_(std::move(path)), file_(std::move(file)) {}
    [[nodiscard]] Result<void> read_state();
    [[nodiscard]] Result<void> read_records(const GuestMemory& memory);
    [[nodiscard]] Result<void> read_end(std::uint64_t chunks, std::uint64_t pages);

    std::string path_;
    FileReader file_;
    EncodedState state_;
};

}  // namespace ftvmm::machine
