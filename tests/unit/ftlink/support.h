// What tests of the link share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "base/clock.h"
#include "ftlink/frame.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"
#include "replay/recorder.h"

namespace ftvmm::ftlink::testing {

// So many milliseconds after the host's boot.
inline Instant at_ms(std::int64_t ms) {
    return Instant(std::chrono::milliseconds(ms));
}

inline std::vector<std::byte> bytes_of_text(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

// What goes over the wire.
inline std::vector<std::byte> wire(const OutgoingFrame& frame) {
    std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
    bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
    return bytes;
}

// As the other side gets it.
inline Frame received(const OutgoingFrame& frame, FrameKind kind) {
    return {kind, frame.payload};
}

inline std::string error_of(const Result<void>& result) {
    REQUIRE(!result);
    return result.error().what();
}

// A batch of `count` records: packets of `packet_bytes` each.
inline replay::ClosedBatch batch_of(std::uint64_t first, std::size_t count,
                                    std::size_t packet_bytes = 10) {
    replay::RecordEncoder encoder;
    for (std::size_t i = 0; i < count; ++i) {
        replay::record::Packet packet;
        packet.frame.resize(packet_bytes, std::byte{7});
        encoder.add({{first + i, 0}, 0, packet});
    }
    replay::ClosedBatch batch;
    batch.first = replay::Seq(first);
    batch.last = replay::Seq(first + count - 1);
    batch.bytes = replay::make_batch(batch.first, count, encoder.take());
    return batch;
}

}  // namespace ftvmm::ftlink::testing
