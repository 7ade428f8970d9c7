// Memory that a disk moves data from or to while others use it too: the guest's own.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace ftvmm {

// Pieces of a memory, in the order of the data.
struct MemoryPieces {
    std::vector<std::span<std::byte>> pieces;
    std::shared_ptr<const void> owner;  // The memory lives as long as somebody holds it.

    // Whether this names a memory, though its pieces were taken out of it.
    [[nodiscard]] bool is_any() const { return owner != nullptr; }
    // In bytes.
    [[nodiscard]] std::size_t size() const {
        std::size_t sum = 0;
        for (const auto& piece : pieces)
            sum += piece.size();
        return sum;
    }
};

}  // namespace ftvmm
