// Numbers and bytes as a log lays them out: little endian, and varints of 7 bits a byte, lowest
// first, the top bit on all but the last.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ftvmm::replay {

// Small numbers of either sign become small ones without.
[[nodiscard]] constexpr std::uint64_t to_zigzag(std::int64_t value) {
    const auto bits = static_cast<std::uint64_t>(value);
    return bits << 1U ^ (value < 0 ? ~std::uint64_t{0} : 0);
}
[[nodiscard]] constexpr std::int64_t from_zigzag(std::uint64_t value) {
    return static_cast<std::int64_t>(value >> 1U ^ ((value & 1U) != 0 ? ~std::uint64_t{0} : 0));
}

// Appends to what it holds.
class ByteWriter {
  public:
    template <std::unsigned_integral T>
    void fixed(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes_.push_back(static_cast<std::byte>(std::uint64_t{value} >> (8U * i)));
    }
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7U)
            bytes_.push_back(static_cast<std::byte>(value | 0x80));
        bytes_.push_back(static_cast<std::byte>(value));
    }
    void raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    // Its length, then the bytes.
    void blob(std::span<const std::byte> bytes) {
        varint(bytes.size());
        raw(bytes);
    }

    // So many bytes more are about to come.
    void reserve(std::size_t size) { bytes_.reserve(bytes_.size() + size); }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
    [[nodiscard]] std::vector<std::byte> take() { return std::exchange(bytes_, {}); }
    void clear() { bytes_.clear(); }

  private:
    std::vector<std::byte> bytes_;
};

// Reads any bytes. What can not be read is noted once, with its place, and everything after it
// reads as zero: callers look at failure() before they use what they read.
class ByteReader {
  public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T fixed() {
        if (bytes_.size() - at_ < sizeof(T)) {
            fail("a number is cut off");
            return 0;
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            value |= std::to_integer<std::uint64_t>(bytes_[at_ + i]) << (8U * i);
        at_ += sizeof(T);
        return static_cast<T>(value);
    }
    std::uint64_t varint();
    // As a T, which it must fit.
    template <std::unsigned_integral T>
    T small_varint() {
        const std::uint64_t value = varint();
        if (std::in_range<T>(value)) return static_cast<T>(value);
        fail("a number is too large");
        return 0;
    }
    // Views of what was read: `size` bytes, and as many as a number before them says.
    std::span<const std::byte> raw(std::size_t size);
    std::span<const std::byte> blob();

    [[nodiscard]] bool is_at_end() const { return at_ == bytes_.size(); }
    [[nodiscard]] std::size_t offset() const { return at_; }
    // The first call counts. Nothing can be read after it.
    void fail(const char* what);
    // What is wrong, with the offset in these bytes; empty if nothing is.
    [[nodiscard]] const std::optional<std::string>& failure() const { return failure_; }

  private:
    std::span<const std::byte> bytes_;
    std::size_t at_ = 0;
    std::optional<std::string> failure_;
};

}  // namespace ftvmm::replay
