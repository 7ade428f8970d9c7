// Entropy comes in through this door, so that everything behind it can be run from a seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ftvmm {

class Entropy {
  public:
    Entropy() = default;
    Entropy(const Entropy&) = delete;
    Entropy& operator=(const Entropy&) = delete;
    virtual ~Entropy() = default;

    // Fills all of `out`.
    virtual void fill(std::span<std::byte> out) = 0;

    [[nodiscard]] std::uint64_t next_u64();
    // Uniform in [0, bound); `bound` is not 0.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound);
};

// The kernel's entropy, getrandom(2). Safe on any thread; waits only in the first moments of boot.
class SystemEntropy final : public Entropy {
  public:
    void fill(std::span<std::byte> out) override;
};

// The same bytes for the same seed, on every machine, for tests and simulations; not for secrets.
// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). One
// thread.
class SeededEntropy final : public Entropy {
  public:
    explicit SeededEntropy(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<std::byte> out) override;

  private:
    std::uint64_t state_;
};

}  // namespace ftvmm
