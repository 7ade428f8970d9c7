#include "ftlink/frame.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "replay/log_bytes.h"
#include "replay/log_format.h"

namespace ftvmm::ftlink {

namespace {

// "FV".
constexpr std::uint16_t kMagic = 0x5646;
constexpr std::size_t kChecksumAt = 8;  // Of what is before it and the payload.

// What a handshake's message, a message of messages.h and a chunk of a clone have at most.
constexpr std::size_t kMostHandshakeBytes = std::size_t{16} << 10U;
constexpr std::size_t kMostMessageBytes = 64;
constexpr std::size_t kMostCloneControlBytes = 1024;
// A chunk of 1 MiB that compresses to no less.
constexpr std::size_t kMostCloneBytes = (std::size_t{1} << 20U) + (std::size_t{64} << 10U);

// Of a buffer that had to grow for a large frame.
constexpr std::size_t kKeptBytes = std::size_t{1} << 20U;

std::optional<FrameKind> kind_of(std::uint8_t number) {
    const auto kind = static_cast<FrameKind>(number);
    if (kind < FrameKind::kHello || kind > FrameKind::kCloneState) return std::nullopt;
    return kind;
}

// TLS keeps out malice; this is against mistakes in between, so half of the hash is enough.
std::uint32_t checksum_of(std::span<const std::byte> header, std::span<const std::byte> payload) {
    std::uint64_t seed = 0;
    std::memcpy(&seed, header.data(), kChecksumAt);
    return static_cast<std::uint32_t>(XXH3_64bits_withSeed(payload.data(), payload.size(), seed));
}

}  // namespace

const char* name_of(FrameKind kind) {
    switch (kind) {
        case FrameKind::kHello:
            return "a hello";
        case FrameKind::kWelcome:
            return "a welcome";
        case FrameKind::kRefusal:
            return "a refusal";
        case FrameKind::kBatch:
            return "a batch";
        case FrameKind::kAck:
            return "an ack";
        case FrameKind::kControl:
            return "a control";
        case FrameKind::kCloneControl:
            return "a control of a clone";
        case FrameKind::kClonePages:
            return "pages of a clone";
        case FrameKind::kCloneState:
            return "state of a clone";
    }
    return "an unknown frame";
}

std::size_t most_payload_bytes(FrameKind kind) {
    switch (kind) {
        case FrameKind::kHello:
        case FrameKind::kWelcome:
        case FrameKind::kRefusal:
            return kMostHandshakeBytes;
        case FrameKind::kBatch:
            return replay::BatchHeader::kBytes + replay::kMaxRecordBytes;
        case FrameKind::kAck:
        case FrameKind::kControl:
            return kMostMessageBytes;
        case FrameKind::kCloneControl:
            return kMostCloneControlBytes;
        case FrameKind::kClonePages:
        case FrameKind::kCloneState:
            return kMostCloneBytes;
    }
    return 0;
}

OutgoingFrame make_frame(FrameKind kind, std::vector<std::byte> payload) {
    FTVMM_CHECK(payload.size() <= most_payload_bytes(kind), "a frame keeps to its kind's bound");
    replay::ByteWriter writer;
    writer.reserve(kFrameHeaderBytes);
    writer.fixed(kMagic);
    writer.fixed(static_cast<std::uint8_t>(kind));
    writer.fixed(std::uint8_t{0});
    writer.fixed(static_cast<std::uint32_t>(payload.size()));
    writer.fixed(checksum_of(writer.bytes(), payload));
    OutgoingFrame frame;
    std::ranges::copy(writer.bytes(), frame.header.begin());
    frame.payload = std::move(payload);
    return frame;
}

void FrameDecoder::feed(std::span<const std::byte> bytes) {
    if (error_) return;
    // What was given out makes room here, not in next(), whose frames point into the buffer.
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
    if (buffer_.capacity() > kKeptBytes && buffer_.size() < kKeptBytes) buffer_.shrink_to_fit();
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameDecoder::next() {
    if (error_) return Failure(*error_);
    auto frame = read();
    if (!frame) {
        error_ = frame.error();
        buffer_ = {};
        at_ = 0;
    }
    return frame;
}

Result<std::optional<Frame>> FrameDecoder::read() {
    const auto bytes = std::span<const std::byte>(buffer_).subspan(at_);
    if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
    replay::ByteReader reader(bytes.first(kFrameHeaderBytes));
    if (reader.fixed<std::uint16_t>() != kMagic) return failure("no frame begins there");
    const auto number = reader.fixed<std::uint8_t>();
    const auto flags = reader.fixed<std::uint8_t>();
    const auto size = reader.fixed<std::uint32_t>();
    const auto checksum = reader.fixed<std::uint32_t>();
    const auto kind = kind_of(number);
    if (!kind) return failure(fmt::format("there is no frame of kind {}", number));
    if (flags != 0) return failure(fmt::format("a frame has the flags {:#x}", flags));
    if (size > most_payload_bytes(*kind)) {
        return failure(fmt::format("{} of {} bytes is larger than any", name_of(*kind), size));
    }
    if (bytes.size() - kFrameHeaderBytes < size) return std::nullopt;
    const auto payload = bytes.subspan(kFrameHeaderBytes, size);
    if (checksum_of(bytes, payload) != checksum) {
        return failure(fmt::format("the checksum of {} is wrong", name_of(*kind)));
    }
    at_ += kFrameHeaderBytes + size;
    offset_ += kFrameHeaderBytes + size;
    ++frames_;
    return Frame{*kind, payload};
}

Failure FrameDecoder::failure(std::string_view what) const {
    return fail(
        fmt::format("frame {} at byte {} of the link: {}", frames_ + 1, offset_, what),
        "the connection is closed; if this comes again, the hosts' builds or memory differ");
}

}  // namespace ftvmm::ftlink
