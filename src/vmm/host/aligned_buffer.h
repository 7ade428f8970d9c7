// Memory that a disk may read and write without a copy.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace ftvmm::host {

// What O_DIRECT asks of addresses on any device there is.
inline constexpr std::size_t kBufferAlignment = 4096;

// Owns bytes that begin at a multiple of kBufferAlignment, zeroed. Move-only; an empty one holds
// none.
class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(std::size_t size);

    [[nodiscard]] std::span<std::byte> bytes() { return {bytes_.get(), size_}; }
    [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    struct Free {
        void operator()(std::byte* bytes) const;
    };
    std::unique_ptr<std::byte, Free> bytes_;
    std::size_t size_ = 0;
};

}  // namespace ftvmm::host
