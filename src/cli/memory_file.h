// A guest's memory as it was where a recorded guest ended, for replays to compare theirs with.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "vmm/machine/memory_difference.h"

namespace ftvmm::cli {

// All bytes in a new file that its owner alone can read; pages that are zero take no room in it.
// Written over where it was made before, by an earlier life of the guest.
[[nodiscard]] Result<void> write_memory_file(const std::string& path,
                                             std::span<const std::byte> memory);
// An error: it can not be read, or is of another size.
[[nodiscard]] Result<machine::MemoryDifferences> compare_memory_file(
    const std::string& path, std::span<const std::byte> memory);

}  // namespace ftvmm::cli
