#include "heartbeat/beat.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "pair_of_sessions.h"

namespace ftvmm::heartbeat {
namespace {

using testing::key_of;

Beat some_beat() {
    Beat beat;
    std::uint8_t next = 0x10;
    for (std::uint8_t& byte : beat.vm)
        byte = next++;
    beat.generation = Generation(7);
    beat.role = Role::kSecondary;
    beat.number = BeatNumber(0x0102'0304'0506'0708);
    beat.sent_at = Instant(std::chrono::milliseconds(1500));
    beat.echo = BeatNumber(42);
    return beat;
}

std::string hex(const BeatBytes& bytes) {
    std::string text;
    for (const std::byte byte : bytes)
        text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return text;
}

TEST_CASE("A beat comes back as it was sent") {
    const auto bytes = encode_beat(some_beat(), key_of(0));
    const auto beat = decode_beat(bytes, key_of(0));
    REQUIRE(beat);
    CHECK(*beat == some_beat());
}

TEST_CASE("A beat is laid out as the format says") {
    // Made from docs/heartbeat.md alone, with another HMAC.
    CHECK(hex(encode_beat(some_beat(), key_of(0))) ==
          "4654564801020000101112131415161718191a1b1c1d1e1f07000000000000000807060504030201"
          "002f6859000000002a00000000000000377ebe5197c0c4f9e539efa8b4fa234e4d90019148db3258"
          "789e0b04098c56fa");
}

TEST_CASE("No bit of a beat can be another, and no key but the peer's makes one") {
    const auto bytes = encode_beat(some_beat(), key_of(0));
    for (std::size_t bit = 0; bit < 8 * kBeatBytes; ++bit) {
        auto flipped = bytes;
        flipped.at(bit / 8) ^= static_cast<std::byte>(1U << bit % 8);
        const auto beat = decode_beat(flipped, key_of(0));
        REQUIRE(!beat);
        const Refusal expected = bit < 32   ? Refusal::kNoBeat
                                 : bit < 40 ? Refusal::kVersion
                                            : Refusal::kForged;
        REQUIRE(beat.error() == expected);
    }
    CHECK(decode_beat(bytes, key_of(1)).error() == Refusal::kForged);
}

TEST_CASE("A datagram of another size is no beat, whatever is in it") {
    const auto bytes = encode_beat(some_beat(), key_of(0));
    std::vector<std::byte> longer(bytes.begin(), bytes.end());
    for (std::size_t size = 0; size < kBeatBytes; ++size)
        REQUIRE(decode_beat(std::span(bytes).first(size), key_of(0)).error() == Refusal::kSize);
    longer.push_back(std::byte{0});
    CHECK(decode_beat(longer, key_of(0)).error() == Refusal::kSize);
}

TEST_CASE("What the peer says itself must be something that there is") {
    auto beat = some_beat();
    beat.role = static_cast<Role>(0);
    CHECK(decode_beat(encode_beat(beat, key_of(0)), key_of(0)).error() == Refusal::kFields);
    beat.role = static_cast<Role>(4);
    CHECK(decode_beat(encode_beat(beat, key_of(0)), key_of(0)).error() == Refusal::kFields);
    beat.role = Role::kGoingLive;
    CHECK(decode_beat(encode_beat(beat, key_of(0)), key_of(0)).error() == Refusal::kFields);
    beat.echo = BeatNumber();
    CHECK(decode_beat(encode_beat(beat, key_of(0)), key_of(0)));
}

TEST_CASE("Each refusal has a name of its own") {
    std::set<std::string> names;
    for (std::size_t i = 0; i < kRefusals; ++i)
        names.insert(name_of(static_cast<Refusal>(i)));
    CHECK(names.size() == kRefusals);
}

}  // namespace
}  // namespace ftvmm::heartbeat
