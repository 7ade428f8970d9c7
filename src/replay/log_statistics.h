// What a log consists of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "replay/record.h"

namespace ftvmm::replay {

struct LogStatistics {
    struct OfKind {
        std::uint64_t count = 0;
        std::uint64_t bytes = 0;  // Uncompressed, without the batch's header.
        bool operator==(const OfKind&) const = default;
    };
    std::array<OfKind, kRecordKinds> by_kind{};  // In the order of Body's alternatives.
    std::uint64_t batches = 0;

    void add(std::size_t kind, std::size_t bytes) {
        ++by_kind.at(kind).count;
        by_kind.at(kind).bytes += bytes;
    }
    [[nodiscard]] OfKind total() const {
        OfKind sum;
        for (const OfKind& kind : by_kind) {
            sum.count += kind.count;
            sum.bytes += kind.bytes;
        }
        return sum;
    }
    bool operator==(const LogStatistics&) const = default;
};

}  // namespace ftvmm::replay
