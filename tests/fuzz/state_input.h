// How an input of fuzz_state is laid out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ftvmm::fuzz {

//   0   1   what it is: bit 0 a file, bit 1 with its checksums as they are
//   1   1   S, how many bytes of steps follow
//   2   2   B, how many bytes lie beside the message (no file)
//   4   S   whether fields of its platform are changed, and how; what happens to it afterwards
//       B   what lies beside the message (no file)
//           the message, or the file
//
// A length that is too large is that of all that is left.
class StateInput {
  public:
    static constexpr std::uint8_t kFile = 1;
    static constexpr std::uint8_t kChecksumsAsTheyAre = 2;
    static constexpr std::size_t kHeaderBytes = 4;

    explicit StateInput(std::span<const std::uint8_t> bytes) {
        if (bytes.size() < kHeaderBytes) return;
        what_ = bytes[0];
        const std::size_t bulk = bytes[2] + std::size_t{256} * bytes[3];
        const auto body = bytes.subspan(kHeaderBytes);
        steps_ = body.first(std::min<std::size_t>(bytes[1], body.size()));
        rest_ = std::as_bytes(body.subspan(steps_.size()));
        if (!is_file()) bulk_ = rest_.first(std::min(bulk, rest_.size()));
    }

    [[nodiscard]] bool is_file() const { return (what_ & kFile) != 0; }
    [[nodiscard]] bool is_signed() const { return (what_ & kChecksumsAsTheyAre) == 0; }
    [[nodiscard]] std::span<const std::uint8_t> steps() const { return steps_; }
    [[nodiscard]] std::span<const std::byte> bulk() const { return bulk_; }
    // The bulk and the message, or the file.
    [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

  private:
    std::uint8_t what_ = 0;
    std::span<const std::uint8_t> steps_;
    std::span<const std::byte> bulk_;
    std::span<const std::byte> rest_;
};

}  // namespace ftvmm::fuzz
