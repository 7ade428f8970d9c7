#include "base/strong_id.h"

#include <type_traits>

#include <catch2/catch.hpp>

namespace ftvmm {
namespace {

using Seq = StrongId<struct SeqTag>;
using Generation = StrongId<struct GenerationTag>;

TEST_CASE("Strong ids of different kinds do not mix, nor come from plain numbers unasked") {
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Seq, Generation>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<Generation, Seq>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<std::uint64_t, Seq>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Seq, std::uint64_t>);
}

TEST_CASE("Strong ids compare, add an offset and subtract") {
    CHECK(Seq(2) < Seq(3));
    CHECK(Seq(2) + 5 == Seq(7));
    CHECK(Seq(7) - Seq(2) == 5);
    CHECK(Seq().value() == 0);
}

}  // namespace
}  // namespace ftvmm
