#include "ftlink/messages.h"

#include <fmt/format.h>

#include "replay/log_bytes.h"

namespace ftvmm::ftlink {

namespace {

// What was read, if that was all there is and nothing was wrong with it.
template <class T>
Result<T> whole(const T& message, const replay::ByteReader& reader, const char* name) {
    if (reader.failure()) return fail(fmt::format("{}: {}", name, *reader.failure()));
    if (!reader.is_at_end()) {
        return fail(fmt::format("{}: it goes on behind byte {}", name, reader.offset()));
    }
    return message;
}

// One byte, as one of an enumeration's first `count` values.
template <class E>
E small_enum(replay::ByteReader& reader, std::uint8_t count, const char* what) {
    const auto number = reader.fixed<std::uint8_t>();
    if (number >= count) reader.fail(what);
    return static_cast<E>(number < count ? number : 0);
}

}  // namespace

std::vector<std::byte> encode(const Ack& ack) {
    replay::ByteWriter writer;
    writer.reserve(33);
    writer.fixed(ack.next_received.value());
    writer.fixed(ack.next_replayed.value());
    writer.fixed(ack.answers.value());
    writer.fixed(static_cast<std::uint64_t>(ack.replayed_time.time_since_epoch().count()));
    writer.fixed(static_cast<std::uint8_t>(ack.verdict));
    return writer.take();
}

Result<Ack> decode_ack(std::span<const std::byte> payload) {
    replay::ByteReader reader(payload);
    Ack ack;
    ack.next_received = replay::Seq(reader.fixed<std::uint64_t>());
    ack.next_replayed = replay::Seq(reader.fixed<std::uint64_t>());
    ack.answers = MessageNumber(reader.fixed<std::uint64_t>());
    ack.replayed_time =
        GuestTime(GuestTime::duration(static_cast<std::int64_t>(reader.fixed<std::uint64_t>())));
    ack.verdict = small_enum<Verdict>(reader, 2, "there is no such verdict");
    if (ack.next_replayed > ack.next_received) reader.fail("more was replayed than came");
    return whole(ack, reader, "an ack");
}

std::vector<std::byte> encode(const Control& control) {
    replay::ByteWriter writer;
    writer.fixed(static_cast<std::uint8_t>(control.kind));
    writer.fixed(static_cast<std::uint8_t>(control.reason));
    return writer.take();
}

Result<Control> decode_control(std::span<const std::byte> payload) {
    replay::ByteReader reader(payload);
    Control control;
    control.kind = small_enum<ControlKind>(reader, 2, "there is no such control");
    control.reason = small_enum<GoodbyeReason>(reader, 2, "there is no such reason");
    return whole(control, reader, "a control");
}

}  // namespace ftvmm::ftlink
