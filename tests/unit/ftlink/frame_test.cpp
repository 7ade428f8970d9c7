// Frames come out of a stream as they went in, however it is sliced, and nothing else does.
#include "ftlink/frame.h"

#include <cstring>
#include <string>

#include "base/random.h"
#include "support.h"

namespace ftvmm::ftlink::testing {
namespace {

using Catch::Matchers::Contains;

// One of each kind, with payloads of several sizes.
std::vector<OutgoingFrame> some_frames() {
    std::vector<OutgoingFrame> frames;
    for (int kind = 1; kind <= 9; ++kind) {
        std::vector<std::byte> payload(static_cast<std::size_t>(kind - 1) * 7,
                                       static_cast<std::byte>(kind));
        frames.push_back(make_frame(static_cast<FrameKind>(kind), std::move(payload)));
    }
    return frames;
}

std::vector<std::byte> wire(std::span<const OutgoingFrame> frames) {
    std::vector<std::byte> bytes;
    for (const auto& frame : frames) {
        const auto each = testing::wire(frame);
        bytes.insert(bytes.end(), each.begin(), each.end());
    }
    return bytes;
}

std::string error_of(std::span<const std::byte> bytes) {
    FrameDecoder decoder;
    decoder.feed(bytes);
    const auto frame = decoder.next();
    REQUIRE(!frame);
    return frame.error().what();
}

}  // namespace

TEST_CASE("Frames come out as they went in, whatever the slices") {
    const auto frames = some_frames();
    const auto stream = wire(frames);
    for (std::size_t slice = 1; slice <= stream.size(); ++slice) {
        FrameDecoder decoder;
        std::size_t count = 0;
        for (std::size_t at = 0; at < stream.size(); at += slice) {
            decoder.feed(std::span(stream).subspan(at, std::min(slice, stream.size() - at)));
            while (true) {
                const auto frame = decoder.next();
                REQUIRE(frame);
                if (!*frame) break;
                REQUIRE(count < frames.size());
                CHECK(static_cast<std::size_t>((*frame)->kind) == count + 1);
                CHECK(std::ranges::equal((*frame)->payload, frames[count].payload));
                ++count;
            }
        }
        CAPTURE(slice);
        CHECK(count == frames.size());
        CHECK(decoder.frames() == frames.size());
        CHECK(decoder.pending_bytes() == 0);
    }
}

TEST_CASE("A frame that is cut off anywhere is waited for") {
    const auto stream = wire(make_frame(FrameKind::kAck, std::vector<std::byte>(33)));
    for (std::size_t size = 0; size < stream.size(); ++size) {
        FrameDecoder decoder;
        decoder.feed(std::span(stream).first(size));
        const auto frame = decoder.next();
        REQUIRE(frame);
        CHECK(!*frame);
        CHECK(decoder.pending_bytes() == size);
    }
}

TEST_CASE("A frame of which one bit changed is no frame") {
    const auto whole = wire(make_frame(FrameKind::kAck, std::vector<std::byte>(33)));
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        auto stream = whole;
        stream[bit / 8] ^= std::byte{1} << (bit % 8);
        FrameDecoder decoder;
        decoder.feed(stream);
        const auto frame = decoder.next();
        CAPTURE(bit);
        // A longer one is still waited for.
        CHECK((!frame || !*frame));
    }
}

TEST_CASE("What is wrong with a stream is said with its place, and said again") {
    auto stream = wire(make_frame(FrameKind::kControl, bytes_of_text("ab")));
    const std::size_t second = stream.size();
    stream.insert(stream.end(), stream.begin(), stream.end());
    stream[second] = std::byte{0};
    FrameDecoder decoder;
    decoder.feed(stream);
    const auto first = decoder.next();
    REQUIRE(first);
    REQUIRE(*first);
    const auto bad = decoder.next();
    REQUIRE(!bad);
    CHECK(bad.error().what() == "frame 2 at byte 14 of the link: no frame begins there");
    decoder.feed(stream);
    CHECK(!decoder.next());
    CHECK(decoder.pending_bytes() == 0);
}

TEST_CASE("A kind or a flag that there is not is refused") {
    auto stream = wire(make_frame(FrameKind::kControl, {}));
    stream[2] = std::byte{10};
    CHECK_THAT(error_of(stream), Contains("there is no frame of kind 10"));
    stream[2] = std::byte{0};
    CHECK_THAT(error_of(stream), Contains("there is no frame of kind 0"));
    stream[2] = std::byte{6};
    stream[3] = std::byte{2};
    CHECK_THAT(error_of(stream), Contains("a frame has the flags 0x2"));
    stream[3] = std::byte{0};
    stream[8] ^= std::byte{1};
    CHECK_THAT(error_of(stream), Contains("the checksum of a control is wrong"));
}

TEST_CASE("A header that announces more than its kind may have is refused at once") {
    for (int number = 1; number <= 9; ++number) {
        const auto kind = static_cast<FrameKind>(number);
        auto stream = wire(make_frame(kind, {}));
        const auto most = static_cast<std::uint32_t>(most_payload_bytes(kind));
        std::memcpy(&stream[4], &most, sizeof(most));
        FrameDecoder decoder;
        decoder.feed(stream);
        const auto waits = decoder.next();
        REQUIRE(waits);
        CHECK(!*waits);
        const std::uint32_t more = most + 1;
        std::memcpy(&stream[4], &more, sizeof(more));
        CHECK_THAT(error_of(stream), Contains("is larger than any"));
    }
}

TEST_CASE("A large frame that comes in pieces is put together") {
    std::vector<std::byte> payload(std::size_t{3} << 20U);
    SeededEntropy(1).fill(payload);
    const auto frame = make_frame(FrameKind::kBatch, payload);
    const auto stream = wire(frame);
    FrameDecoder decoder;
    constexpr std::size_t kPiece = 100'000;
    for (std::size_t at = 0; at < stream.size(); at += kPiece) {
        decoder.feed(std::span(stream).subspan(at, std::min(kPiece, stream.size() - at)));
        const auto taken = decoder.next();
        REQUIRE(taken);
        REQUIRE(taken->has_value() == (at + kPiece >= stream.size()));
        if (*taken) CHECK(std::ranges::equal((*taken)->payload, payload));
    }
}

}  // namespace ftvmm::ftlink::testing
