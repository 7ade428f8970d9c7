#include "vmm/machine/memory_chunk.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <numeric>

#include "vmm/pci/little_endian.h"

namespace ftvmm::machine {

namespace {

// Fast beats small here: a guest stands still meanwhile.
constexpr int kLevel = 1;

constexpr std::size_t kKind = 0;
constexpr std::size_t kCompressedBytes = 4;
constexpr std::size_t kFirstPage = 8;
constexpr std::size_t kPages = 16;

bool is_zero(std::span<const std::byte> page) {
    return page[0] == std::byte{0} &&
           std::memcmp(page.data(), page.subspan(1).data(), page.size() - 1) == 0;
}

}  // namespace

std::size_t ChunkHeader::count() const {
    return std::accumulate(pages.begin(), pages.end(), std::size_t{0},
                           [](std::size_t sum, std::uint8_t byte) {
                               return sum + static_cast<std::size_t>(std::popcount(byte));
                           });
}

std::array<std::byte, ChunkHeader::kBytes> ChunkHeader::encode() const {
    std::array<std::byte, kBytes> bytes{};
    const std::span all(bytes);
    pci::store_at(all, kKind, kRecordKind);
    pci::store_at(all, kCompressedBytes, compressed_bytes);
    pci::store_at(all, kFirstPage, first_page);
    std::ranges::copy(std::as_bytes(std::span(pages)), all.subspan(kPages).begin());
    return bytes;
}

Result<ChunkHeader> ChunkHeader::decode(std::span<const std::byte, kBytes> bytes,
                                        std::uint64_t memory_pages) {
    ChunkHeader header;
    header.compressed_bytes = pci::load_at<std::uint32_t>(bytes, kCompressedBytes);
    header.first_page = pci::load_at<std::uint64_t>(bytes, kFirstPage);
    std::memcpy(header.pages.data(), bytes.subspan(kPages).data(), header.pages.size());
    if (header.first_page % kChunkPages != 0 || header.first_page >= memory_pages ||
        header.count() == 0 || header.compressed_bytes > kMaxCompressed) {
        return fail("a piece of its memory is none that was written");
    }
    for (std::size_t page = 0; page < kChunkPages; ++page) {
        if (header.has(page) && page >= memory_pages - header.first_page) {
            return fail("it holds memory that the guest does not have");
        }
    }
    return header;
}

ChunkCodec::ChunkCodec()
    : compressor_(ZSTD_createCCtx()),
      decompressor_(ZSTD_createDCtx()),
      pages_(kChunkBytes),
      compressed_(ChunkHeader::kMaxCompressed) {
    if (!compressor_ || !decompressor_) throw std::bad_alloc();
}

Result<ChunkCodec::Chunk> ChunkCodec::pack(std::span<const std::byte> memory,
                                           std::uint64_t first_page) {
    return pack_if(memory, first_page,
                   [](std::uint64_t, std::span<const std::byte> page) { return !is_zero(page); });
}

Result<ChunkCodec::Chunk> ChunkCodec::pack(std::span<const std::byte> memory,
                                           std::uint64_t first_page, const PageSet& wanted) {
    return pack_if(memory, first_page, [&wanted](std::uint64_t number, std::span<const std::byte>) {
        return wanted.has(number);
    });
}

template <class Wants>
Result<ChunkCodec::Chunk> ChunkCodec::pack_if(std::span<const std::byte> memory,
                                              std::uint64_t first_page, Wants wants) {
    Chunk chunk;
    chunk.header.first_page = first_page;
    const auto rest = memory.subspan(first_page * kPageBytes);
    const auto pages = rest.first(std::min(rest.size(), kChunkBytes));
    std::size_t used = 0;
    for (std::size_t page = 0; page < pages.size() / kPageBytes; ++page) {
        const auto bytes = pages.subspan(page * kPageBytes, kPageBytes);
        if (!wants(first_page + page, bytes)) continue;
        chunk.header.pages.at(page / 8) |= static_cast<std::uint8_t>(1U << (page % 8));
        std::memcpy(&pages_.at(used), bytes.data(), bytes.size());
        used += bytes.size();
    }
    if (used == 0) return chunk;
    const std::size_t size = ZSTD_compressCCtx(compressor_.get(), compressed_.data(),
                                               compressed_.size(), pages_.data(), used, kLevel);
    if (ZSTD_isError(size) != 0) {
        return fail(fmt::format("zstd can not compress a piece of the guest's memory: {}",
                                ZSTD_getErrorName(size)));
    }
    chunk.header.compressed_bytes = static_cast<std::uint32_t>(size);
    chunk.data = std::span(compressed_).first(size);
    return chunk;
}

Result<void> ChunkCodec::unpack(const ChunkHeader& header, std::span<const std::byte> data,
                                std::span<std::byte> memory) {
    const std::size_t wanted = header.count() * kPageBytes;
    const std::size_t size = ZSTD_decompressDCtx(decompressor_.get(), pages_.data(), pages_.size(),
                                                 data.data(), data.size());
    if (ZSTD_isError(size) != 0 || size != wanted) {
        return fail("a piece of its memory does not unpack to what it says");
    }
    const auto target = memory.subspan(header.first_page * kPageBytes);
    std::size_t used = 0;
    for (std::size_t page = 0; page < kChunkPages; ++page) {
        if (!header.has(page)) continue;
        std::memcpy(target.subspan(page * kPageBytes, kPageBytes).data(), &pages_.at(used),
                    kPageBytes);
        used += kPageBytes;
    }
    return {};
}

}  // namespace ftvmm::machine
