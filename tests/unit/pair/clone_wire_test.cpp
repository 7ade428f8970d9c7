// What goes over while a machine is cloned comes back as it was, and no other bytes are taken.
#include "pair/clone_wire.h"

#include <string>
#include <vector>

#include "base/random.h"
#include "support.h"

namespace ftvmm::pair {
namespace {

using namespace clone_message;
using Catch::Matchers::Contains;
using ftlink::FrameKind;
using ftlink::testing::bytes_of_text;
using machine::ChunkHeader;

constexpr std::uint64_t kPages = machine::kChunkPages + 16;

std::string why_no_message(std::span<const std::byte> payload) {
    const auto message = decode_clone_message(payload);
    REQUIRE_FALSE(message);
    return message.error().what();
}

// The payload of some pages, with what `change` makes of their header.
template <class Change>
std::vector<std::byte> pages_with(Change change) {
    machine::ChunkCodec codec;
    std::vector<std::byte> memory(kPages * kPageBytes);
    SeededEntropy(1).fill(std::span(memory).subspan(machine::kChunkBytes + kPageBytes, 5000));
    auto chunk = codec.pack(memory, machine::kChunkPages);
    REQUIRE(chunk);
    REQUIRE(chunk->header.count() == 2);
    change(chunk->header);
    return make_frame(*chunk).payload;
}

template <class Change>
std::string why_no_pages(Change change) {
    const auto pages = decode_pages(pages_with(change), kPages);
    REQUIRE_FALSE(pages);
    return pages.error().what();
}

}  // namespace

TEST_CASE("A message of a clone comes back as it was, and neither less nor more of it is one") {
    const CloneMessage message =
        GENERATE(CloneMessage(Begins{0x0102'0304'0506'0708}), CloneMessage(Round{7, 1ULL << 40U}),
                 CloneMessage(Ends{5, 6, 7, replay::Seq(8)}), CloneMessage(Stands{}),
                 CloneMessage(Failed{"there is no KVM"}), CloneMessage(Failed{}),
                 CloneMessage(Protected{Generation(9), {1, 2, 3, 0xff}}), CloneMessage(Bids{}));
    const auto frame = make_frame(message);
    CHECK(frame.header[2] == static_cast<std::byte>(FrameKind::kCloneControl));
    auto payload = frame.payload;
    CHECK(decode_clone_message(payload) == message);
    for (std::size_t size = 0; size < payload.size(); ++size) {
        CAPTURE(size);
        CHECK_THAT(why_no_message(std::span(payload).first(size)),
                   Contains("cut off") || Contains("more bytes are announced"));
    }
    payload.emplace_back();
    CHECK(why_no_message(payload) == "a clone's message goes on behind its end");
}

TEST_CASE("A number that no message has is none") {
    CHECK_THAT(why_no_message(bytes_of_text("\x07")), Contains("there is no such message"));
    CHECK_THAT(why_no_message(bytes_of_text("\xff")), Contains("there is no such message"));
}

TEST_CASE("A reason has room in a line, and moves no terminal's cursor") {
    const std::string line(512, 'x');
    const auto cut = make_frame(CloneMessage(Failed{line + "yz"}));
    CHECK(decode_clone_message(cut.payload) == CloneMessage(Failed{line}));
    // The number of the message, and 513 as a varint.
    const auto longer = bytes_of_text("\x04\x81\x04" + line + "y");
    CHECK_THAT(why_no_message(longer), Contains("its reason is too long"));
    const auto odd = make_frame(CloneMessage(Failed{"a\x1b[2Jb\n\xc3\xa4~"}));
    CHECK(decode_clone_message(odd.payload) == CloneMessage(Failed{"a?[2Jb???~"}));
}

TEST_CASE("Pages come back with their header") {
    const auto payload = pages_with([](const ChunkHeader&) {});
    const auto pages = decode_pages(payload, kPages);
    REQUIRE(pages);
    CHECK(pages->header.first_page == machine::kChunkPages);
    CHECK(pages->header.has(1));
    CHECK(pages->header.has(2));
    CHECK(pages->header.count() == 2);
    std::vector<std::byte> memory(kPages * kPageBytes);
    machine::ChunkCodec codec;
    REQUIRE(codec.unpack(pages->header, pages->data, memory));
    std::vector<std::byte> sent(5000);
    SeededEntropy(1).fill(sent);
    const auto there = std::span(memory).subspan(machine::kChunkBytes + kPageBytes, sent.size());
    CHECK(std::ranges::equal(there, sent));
}

TEST_CASE("Pages whose header lies are not taken") {
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { --header.compressed_bytes; }),
               Contains("not as long as they say"));
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { ++header.compressed_bytes; }),
               Contains("not as long as they say"));
    const auto none = Contains("is none that was written");
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { header.compressed_bytes = ~0U; }), none);
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { header.pages = {}; }), none);
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { ++header.first_page; }), none);
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { header.first_page *= 2; }), none);
    CHECK_THAT(why_no_pages([](ChunkHeader& header) {
                   header.first_page = std::uint64_t{0} - machine::kChunkPages;
               }),
               none);
    // The first page behind the guest's last.
    CHECK_THAT(why_no_pages([](ChunkHeader& header) { header.pages[2] = 1; }),
               Contains("memory that the guest does not have"));
}

TEST_CASE("What is too short for a header, or is another record of a saved state, are no pages") {
    auto payload = pages_with([](const ChunkHeader&) {});
    const auto cut = decode_pages(std::span(payload).first(ChunkHeader::kBytes - 1), kPages);
    REQUIRE_FALSE(cut);
    CHECK_THAT(cut.error().what(), Contains("have no header"));
    payload[0] = std::byte{2};
    const auto other = decode_pages(payload, kPages);
    REQUIRE_FALSE(other);
    CHECK_THAT(other.error().what(), Contains("pages are none"));
}

TEST_CASE("The largest pieces have room in a frame") {
    const std::vector<std::byte> state(kMostStatePiece);
    CHECK(make_state_frame(state).payload == state);
    std::vector<std::byte> memory(machine::kChunkBytes);
    SeededEntropy(2).fill(memory);
    machine::ChunkCodec codec;
    const auto chunk = codec.pack(memory, 0);
    REQUIRE(chunk);
    // No smaller than it was: that is what most_payload_bytes() has to have room for.
    CHECK(chunk->data.size() > memory.size());
    CHECK(decode_pages(make_frame(*chunk).payload, machine::kChunkPages));
    CHECK(ChunkHeader::kBytes + ChunkHeader::kMaxCompressed <=
          ftlink::most_payload_bytes(FrameKind::kClonePages));
}

}  // namespace ftvmm::pair
