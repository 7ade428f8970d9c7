// Bytes that are read and written by sectors, one call at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/host/disk_request.h"

namespace ftvmm::host {

// Each call waits for the storage, and returns 0 or an errno: what part of it was carried out is
// then unknown. `offset`s and lengths are in bytes, whole sectors, inside of the file; memory is
// aligned as of kBufferAlignment wherever the file bypasses the page cache. Any thread may call;
// calls whose ranges overlap, one of them changing it, are not made at once.
class BlockFile {
  public:
    BlockFile() = default;
    BlockFile(const BlockFile&) = delete;
    BlockFile& operator=(const BlockFile&) = delete;
    virtual ~BlockFile() = default;

    [[nodiscard]] virtual int read(std::span<std::byte> bytes, std::uint64_t offset) = 0;
    [[nodiscard]] virtual int write(std::span<const std::byte> bytes, std::uint64_t offset) = 0;
    // Reads as zeroes from here on.
    [[nodiscard]] virtual int zero(std::uint64_t offset, std::uint64_t length) = 0;
    // May read as anything; storage that can not do it has done it.
    [[nodiscard]] virtual int discard(std::uint64_t offset, std::uint64_t length) = 0;
    // All that was written or zeroed before, by whomever, outlasts the storage's loss of power.
    [[nodiscard]] virtual int sync() = 0;
};

// A file or block device that is open. The descriptor outlives it.
class FdBlockFile final : public BlockFile {
  public:
    FdBlockFile(int fd, bool block_device) : fd_(fd), block_device_(block_device) {}

    [[nodiscard]] int read(std::span<std::byte> bytes, std::uint64_t offset) override;
    [[nodiscard]] int write(std::span<const std::byte> bytes, std::uint64_t offset) override;
    [[nodiscard]] int zero(std::uint64_t offset, std::uint64_t length) override;
    [[nodiscard]] int discard(std::uint64_t offset, std::uint64_t length) override;
    [[nodiscard]] int sync() override;

  private:
    int fd_;
    bool block_device_;
};

// Carries out one request that DiskFile::refusal() lets pass, and waits for it: 0 or its errno.
[[nodiscard]] int perform(BlockFile& file, DiskRequest& request);

}  // namespace ftvmm::host
