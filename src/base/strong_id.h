// Numbers that must not be mixed up: each kind is a type of its own.
#pragma once

#include <compare>
#include <cstdint>

namespace ftvmm {

// `Tag` is any type, used for its name alone. Construction and value() are explicit; two values of
// one kind compare, add an offset and subtract, and nothing else.
template <class Tag, class Rep = std::uint64_t>
class StrongId {
  public:
    constexpr StrongId() = default;
    constexpr explicit StrongId(Rep value) : value_(value) {}

    [[nodiscard]] constexpr Rep value() const { return value_; }

    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the 0 in <=> for a pointer.
    constexpr auto operator<=>(const StrongId&) const = default;
    [[nodiscard]] constexpr StrongId operator+(Rep offset) const {
        return StrongId(static_cast<Rep>(value_ + offset));
    }
    [[nodiscard]] constexpr Rep operator-(StrongId other) const {
        return static_cast<Rep>(value_ - other.value_);
    }

  private:
    Rep value_{};
};

}  // namespace ftvmm
