// Guest memory in pieces: those pages that hold something, compressed.
#pragma once

#include <zstd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/machine/page_set.h"
#include "vmm/memory/gpa.h"

namespace ftvmm::machine {

// 1 MiB: zstd's gain grows little beyond it, and it is what a reader holds at a time.
inline constexpr std::size_t kChunkPages = 256;
inline constexpr std::size_t kChunkBytes = kChunkPages * kPageBytes;

// One record of docs/state-format.md. Pages are numbered from the start of GuestMemory::bytes(), so
// the hole below 4 GiB has no numbers.
struct ChunkHeader {
    static constexpr std::size_t kBytes = 48;
    static constexpr std::uint32_t kRecordKind = 1;  // The first four bytes.
    // No compressed chunk is larger (ZSTD_compressBound), whatever memory holds.
    static constexpr std::uint32_t kMaxCompressed = ZSTD_COMPRESSBOUND(kChunkBytes);

    std::uint64_t first_page = 0;                       // A multiple of kChunkPages.
    std::uint32_t compressed_bytes = 0;                 // Of the data that follows.
    std::array<std::uint8_t, kChunkPages / 8> pages{};  // Bit n: page first_page + n is there.

    [[nodiscard]] bool has(std::size_t page) const {
        return (pages.at(page / 8) >> (page % 8) & 1U) != 0;
    }
    [[nodiscard]] std::size_t count() const;

    [[nodiscard]] std::array<std::byte, kBytes> encode() const;
    // Of a record whose kind is known to be this. An error where it is none of `memory_pages`
    // pages.
    static Result<ChunkHeader> decode(std::span<const std::byte, kBytes> bytes,
                                      std::uint64_t memory_pages);
};

// Both ways, with the buffers that either needs. One thread.
class ChunkCodec {
  public:
    ChunkCodec();

    struct Chunk {
        ChunkHeader header;
        std::span<const std::byte> data;  // Until the next call.
    };
    // The chunk of `memory` from `first_page` on; its count() is 0 where all of it is zero.
    [[nodiscard]] Result<Chunk> pack(std::span<const std::byte> memory, std::uint64_t first_page);
    // The same of those of its pages alone that are in `wanted`, the zero ones among them.
    [[nodiscard]] Result<Chunk> pack(std::span<const std::byte> memory, std::uint64_t first_page,
                                     const PageSet& wanted);
    // Puts the pages of a chunk into `memory`.
    [[nodiscard]] Result<void> unpack(const ChunkHeader& header, std::span<const std::byte> data,
                                      std::span<std::byte> memory);

  private:
    template <class Wants>
    [[nodiscard]] Result<Chunk> pack_if(std::span<const std::byte> memory, std::uint64_t first_page,
                                        Wants wants);
    struct Free {
        void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
        void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
    };
    std::unique_ptr<ZSTD_CCtx, Free> compressor_;
    std::unique_ptr<ZSTD_DCtx, Free> decompressor_;
    std::vector<std::byte> pages_;
    std::vector<std::byte> compressed_;
};

}  // namespace ftvmm::machine
