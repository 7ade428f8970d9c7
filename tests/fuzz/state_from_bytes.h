// A State out of a fuzzer's input: every field of it may hold anything.
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

#include "../unit/machine/state_fields.h"
#include "fuzz_input.h"

namespace ftvmm::machine::testing {

// A visitor of walk(), in whose namespace it is looked for. Most fields stay as they are, as a
// State in which all are arbitrary is refused at the first of them.
class FieldsFromInput {
  public:
    explicit FieldsFromInput(fuzz::FuzzInput& input) : input_(&input), next_(skip()) {}

    // An enumerator may have no name: a decoder makes none of those, so neither does this.
    template <class T>
    requires std::is_enum_v<T>
    void number(T& value) {
        if (is_next()) value = static_cast<T>(unsigned{input_->take<std::uint8_t>()} & 3U);
    }
    void number(dev::Pit8254::Access& value) {
        if (is_next()) value = static_cast<dev::Pit8254::Access>(1 + input_->below(3));
    }
    void number(bool& value) {
        if (is_next()) value = !value;
    }
    template <class T>
    requires std::is_integral_v<T>
    void number(T& value) {
        if (is_next()) value = static_cast<T>(take_number());
    }
    void number(std::byte& value) {
        if (is_next()) value = input_->take<std::byte>();
    }
    template <class List>
    void list(List& /*list*/) {}
    template <class T>
    void optional(std::optional<T>& value) {
        if (is_next()) value = value ? std::nullopt : std::optional<T>(T{});
    }

  private:
    // A few fields, or far.
    unsigned skip() {
        const unsigned count = input_->take<std::uint8_t>();
        return count < 0x80 ? count : (count - 0x80) * 16;
    }
    bool is_next() {
        if (next_-- != 0) return false;
        next_ = skip();
        return true;
    }
    // Small, large, or just below a power of two.
    std::uint64_t take_number() {
        const std::uint8_t how = input_->take<std::uint8_t>();
        if (how < 0x80) return how;
        if (how < 0xc0) return input_->take<std::uint64_t>();
        return (std::uint64_t{1} << (how & 0x3fU)) - 1;
    }

    fuzz::FuzzInput* input_;
    unsigned next_;  // How many fields stay as they are.
};

}  // namespace ftvmm::machine::testing

namespace ftvmm::fuzz {

// Changes some fields of `state` and leaves lists as long as they are.
template <class State>
void change_fields(State& state, FuzzInput& input) {
    machine::testing::FieldsFromInput fields(input);
    machine::testing::walk(fields, state);
}

}  // namespace ftvmm::fuzz
