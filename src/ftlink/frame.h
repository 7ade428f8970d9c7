// The two hosts' stream, cut into frames: docs/link.md. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace ftvmm::ftlink {

// What a frame's payload is. The numbers are what goes over the wire.
enum class FrameKind : std::uint8_t {
    kHello = 1,  // The handshake's, both ways: proto/link.proto.
    kWelcome = 2,
    kRefusal = 3,
    kBatch = 4,         // To the Secondary: a batch of records, as a log has it.
    kAck = 5,           // To the Primary: messages.h.
    kControl = 6,       // Both ways: messages.h.
    kCloneControl = 7,  // Both ways: docs/link.md, "A clone".
    kClonePages = 8,    // To the Secondary.
    kCloneState = 9,    // To the Secondary: part of the machine's state.
};

// For people: "a batch".
[[nodiscard]] const char* name_of(FrameKind kind);
// What a payload of `kind` has at most.
[[nodiscard]] std::size_t most_payload_bytes(FrameKind kind);

// Magic, kind, flags, length of the payload, checksum.
inline constexpr std::size_t kFrameHeaderBytes = 12;

// A frame on its way out. The payload stays where it was made: both parts go to one gathering
// write.
struct OutgoingFrame {
    std::array<std::byte, kFrameHeaderBytes> header{};
    std::vector<std::byte> payload;

    [[nodiscard]] std::size_t size() const { return header.size() + payload.size(); }
};

// `payload` keeps to what `kind` may have.
[[nodiscard]] OutgoingFrame make_frame(FrameKind kind, std::vector<std::byte> payload);

// A frame that came in whole and unchanged. What it points to is the decoder's, until the next call
// of that.
struct Frame {
    FrameKind kind{};
    std::span<const std::byte> payload;
};

// Takes a stream apart, in whatever pieces it comes. Any bytes may be given. It holds what it was
// fed and has not given out, in at most twice that memory and 1 MiB: what a header announces is
// allocated only as it arrives, and not at all beyond its kind's bound. One thread.
//
//   decoder.feed(read); while (frame = decoder.next()) step(*frame);
class FrameDecoder {
  public:
    // Goes on where the last bytes ended. What next() gave is gone.
    void feed(std::span<const std::byte> bytes);
    // The next frame that is whole, or nothing: feed() more. An error names the place in the
    // stream, and comes again with every further call: nothing behind it can be made sense of.
    [[nodiscard]] Result<std::optional<Frame>> next();

    // Bytes that were fed and belong to no frame that next() gave. At the end of a stream: whether
    // it was cut off within a frame.
    [[nodiscard]] std::size_t pending_bytes() const { return buffer_.size() - at_; }
    // Frames that next() gave so far.
    [[nodiscard]] std::uint64_t frames() const { return frames_; }

  private:
    [[nodiscard]] Result<std::optional<Frame>> read();
    [[nodiscard]] Failure failure(std::string_view what) const;

    std::vector<std::byte> buffer_;
    std::size_t at_ = 0;        // Where the next frame begins in it,
    std::uint64_t offset_ = 0;  // and in the stream.
    std::uint64_t frames_ = 0;
    std::optional<Error> error_;
};

}  // namespace ftvmm::ftlink
