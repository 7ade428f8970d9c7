// What is asked of a disk, and what came of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/memory_pieces.h"
#include "base/strong_id.h"

namespace ftvmm::host {

// Chosen by whoever asks; comes back with the completion.
using DiskRequestId = StrongId<struct DiskRequestIdTag>;

enum class DiskOperation { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

inline constexpr std::uint64_t kSectorBytes = 512;

// `offset` and `length` are in bytes, whole sectors, and mean nothing to a flush. A read moves the
// first `length` bytes of `buffer`, which belongs to the engine until the completion; a write those
// of `data`. Where there is a `place` either moves its bytes, and there is neither of the two.
struct DiskRequest {
    DiskRequestId id;
    DiskOperation operation = DiskOperation::kRead;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    AlignedBuffer buffer;
    SharedBytes data;
    MemoryPieces place;
};

// `error_number` is 0, or the errno: what part of the request was carried out is then unknown.
struct DiskCompletion {
    DiskRequestId id;
    int error_number = 0;
    AlignedBuffer buffer;  // The request's own.
};

}  // namespace ftvmm::host
