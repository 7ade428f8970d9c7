// The bytes of a fuzzer's input, as numbers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

// What libFuzzer calls with each input; run_corpus.cpp does where there is no libFuzzer.
// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ftvmm::fuzz {

// Reads an input from its front; behind its end there are zeroes.
class FuzzInput {
  public:
    explicit FuzzInput(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }

    // The next bytes as a number, lowest first.
    template <class T>
    T take() {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            value |= std::uint64_t{next()} << (8U * i);
        return static_cast<T>(value);
    }
    bool take_bool() { return (next() & 1U) != 0; }
    // The next byte, in [0, bound).
    std::uint8_t below(std::uint8_t bound) { return static_cast<std::uint8_t>(next() % bound); }
    std::vector<std::byte> take_bytes(std::size_t count) {
        std::vector<std::byte> bytes(count);
        std::ranges::generate(bytes, [this] { return static_cast<std::byte>(next()); });
        return bytes;
    }

  private:
    std::uint8_t next() {
        if (bytes_.empty()) return 0;
        const std::uint8_t byte = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return byte;
    }

    std::span<const std::uint8_t> bytes_;
};

}  // namespace ftvmm::fuzz
