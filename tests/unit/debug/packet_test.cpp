#include "debug/packet.h"

#include <vector>

#include <catch2/catch.hpp>

#include "debug/hex.h"

namespace ftvmm::debug {
namespace {

// All that `stream` completes.
std::vector<Received> read_all(std::string_view stream) {
    PacketReader reader;
    std::vector<Received> all;
    for (const char byte : stream) {
        if (auto received = reader.take(static_cast<std::byte>(byte)))
            all.push_back(std::move(*received));
    }
    return all;
}

std::vector<std::string> packets(std::string_view stream) {
    std::vector<std::string> payloads;
    for (const Received& received : read_all(stream)) {
        const auto* packet = std::get_if<received::Packet>(&received);
        payloads.push_back(packet != nullptr ? packet->payload : "(none)");
    }
    return payloads;
}

template <class Kind>
bool is_one(std::string_view stream) {
    const auto all = read_all(stream);
    return all.size() == 1 && std::holds_alternative<Kind>(all.front());
}

}  // namespace

TEST_CASE("A packet has the frame and the checksum that GDB's manual gives") {
    CHECK(framed("OK") == "$OK#9a");
    CHECK(framed("") == "$#00");
    CHECK(framed("a#b") ==
          "$a}\x03"
          "b#43");
}

TEST_CASE("Whatever a payload holds comes out of its frame as it went in") {
    std::string every;
    for (int i = 0; i < 256; ++i)
        every += static_cast<char>(i);
    CHECK(packets(framed(every)) == std::vector{every});
    CHECK(packets(framed(every) + "+" + framed("g")) == std::vector{every, std::string("g")});
}

TEST_CASE("A packet with another checksum, or none of two digits, is damaged") {
    CHECK(is_one<received::Damaged>("$OK#9b"));
    CHECK(is_one<received::Damaged>("$OK#9z"));
    CHECK(is_one<received::Damaged>("$OK#z0"));
    CHECK(is_one<received::Damaged>("$OK}#17"));
    CHECK(packets("$OK#9A") == std::vector<std::string>{"OK"});
}

TEST_CASE("A packet that was cut off ends where the next begins") {
    CHECK(packets("$m1234$OK#9a") == std::vector<std::string>{"OK"});
    CHECK(packets("$g#6$OK#9a").front() == "(none)");
}

TEST_CASE("Noise between packets is passed over, an interrupt and a request to repeat are not") {
    CHECK(packets("++abc#00$OK#9a\n") == std::vector<std::string>{"OK"});
    CHECK(is_one<received::Interrupt>("\x03"));
    CHECK(is_one<received::Nak>("-"));
    CHECK(packets(framed("a\x03-b")) == std::vector<std::string>{"a\x03-b"});
}

TEST_CASE("A packet longer than any may be is damaged, and the next one is read") {
    const std::string longest(kMostPacketBytes, 'a');
    CHECK(packets(framed(longest)) == std::vector{longest});
    CHECK(packets(framed(longest + "a") + framed("OK")) ==
          std::vector<std::string>{"(none)", "OK"});
}

TEST_CASE("Numbers are taken off the front of a text, and too large ones are not") {
    std::string_view text = "1fF,8";
    CHECK(take_number(text) == 0x1ffU);
    CHECK(take(text, ","));
    CHECK_FALSE(take(text, ","));
    CHECK(take_number(text) == 8U);
    CHECK_FALSE(take_number(text));
    std::string_view large = "10000000000000000";
    CHECK_FALSE(take_number(large));
    CHECK(large.size() == 17);
    std::string_view negative = "-1";
    CHECK_FALSE(take_number(negative));
}

}  // namespace ftvmm::debug
