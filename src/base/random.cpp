#include "base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace ftvmm {

std::uint64_t Entropy::next_u64() {
    std::uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

std::uint64_t Entropy::below(std::uint64_t bound) {
    FTVMM_CHECK(bound != 0, "a random choice needs something to choose from");
    // Values below 2^64 mod bound would make the small results likelier: they are drawn again.
    const std::uint64_t biased = (0 - bound) % bound;
    std::uint64_t value = next_u64();
    while (value < biased)
        value = next_u64();
    return value % bound;
}

void SystemEntropy::fill(std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t got = ::getrandom(out.data(), out.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        FTVMM_CHECK(got > 0, "Linux has getrandom(2)");
        out = out.subspan(static_cast<std::size_t>(got));
    }
}

void SeededEntropy::fill(std::span<std::byte> out) {
    while (!out.empty()) {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        z ^= z >> 31;
        const std::size_t count = std::min(out.size(), sizeof z);
        std::memcpy(out.data(), &z, count);
        out = out.subspan(count);
    }
}

}  // namespace ftvmm
