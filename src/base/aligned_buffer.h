// Memory that a disk may read and write without a copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>

namespace ftvmm {

// What O_DIRECT asks of addresses on any device there is.
inline constexpr std::size_t kBufferAlignment = 4096;

// Owns bytes that begin at a multiple of kBufferAlignment. What they are is up to who fills them:
// they are not zeroed. Move-only; an empty one holds none.
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

// The bytes of such a buffer, which several may hold and nobody changes. A range of bytes; copies
// are cheap, equality is of what they hold.
class SharedBytes {
  public:
    SharedBytes() = default;
    explicit SharedBytes(AlignedBuffer bytes)
        : buffer_(std::make_shared<const AlignedBuffer>(std::move(bytes))) {}
    // A copy of `bytes`.
    static SharedBytes copy_of(std::span<const std::byte> bytes);

    [[nodiscard]] const std::byte* data() const { return bytes().data(); }
    [[nodiscard]] std::size_t size() const { return bytes().size(); }
    [[nodiscard]] auto begin() const { return bytes().begin(); }
    [[nodiscard]] auto end() const { return bytes().end(); }
    bool operator==(const SharedBytes& other) const { return std::ranges::equal(*this, other); }

  private:
    [[nodiscard]] std::span<const std::byte> bytes() const {
        return buffer_ ? buffer_->bytes() : std::span<const std::byte>();
    }

    std::shared_ptr<const AlignedBuffer> buffer_;
};

}  // namespace ftvmm
