// Owners of what the kernel hands out: file descriptors and memory mappings.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace ftvmm {

// Owns one file descriptor and closes it. Move-only; an empty one holds -1.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd();

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }

    // open(2) with O_CLOEXEC added. The error names the path.
    static Result<Fd> open(const std::string& path, int flags);

  private:
    int fd_ = -1;
};

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20U;

// Owns one mmap(2) region and unmaps it. Move-only. The address stays the same when moved.
class Mapping {
  public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    Mapping& operator=(Mapping&& other) noexcept;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    // `size` bytes of `fd` from `offset`, shared, readable and writable.
    static Result<Mapping> shared(const Fd& fd, std::size_t size, std::size_t offset = 0);
    // `size` bytes of zeroed private memory, backed only once touched.
    static Result<Mapping> anonymous(std::size_t size);
    // The same, beginning at a multiple of kHugePageBytes: the kernel backs it with pages of that
    // size where it may.
    static Result<Mapping> anonymous_huge(std::size_t size);

    [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

  private:
    explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
    std::span<std::byte> bytes_;
};

}  // namespace ftvmm
