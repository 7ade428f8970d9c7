#include "debug/packet.h"

#include <fmt/format.h>

#include <utility>

namespace ftvmm::debug {

namespace {

constexpr char kBegin = '$';
constexpr char kEnd = '#';
constexpr char kEscape = '}';
constexpr char kRepeat = '*';
constexpr char kInterrupt = '\x03';
constexpr char kFlip = 0x20;

bool has_to_be_escaped(char byte) {
    return byte == kBegin || byte == kEnd || byte == kEscape || byte == kRepeat;
}

std::optional<unsigned> digit_of(char byte) {
    constexpr unsigned kTen = 10;
    if (byte >= '0' && byte <= '9') return static_cast<unsigned>(byte - '0');
    if (byte >= 'a' && byte <= 'f') return static_cast<unsigned>(byte - 'a') + kTen;
    if (byte >= 'A' && byte <= 'F') return static_cast<unsigned>(byte - 'A') + kTen;
    return std::nullopt;
}

}  // namespace

std::string framed(std::string_view payload) {
    std::string text(1, kBegin);
    std::uint8_t sum = 0;
    const auto put = [&](char byte) {
        text += byte;
        sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
    };
    for (const char byte : payload) {
        if (!has_to_be_escaped(byte)) {
            put(byte);
            continue;
        }
        put(kEscape);
        put(static_cast<char>(byte ^ kFlip));
    }
    return text + fmt::format("{}{:02x}", kEnd, sum);
}

std::optional<Received> PacketReader::take(std::byte byte) {
    const char value = static_cast<char>(byte);
    switch (state_) {
        case State::kBetween:
            return take_between(value);
        case State::kPayload:
        case State::kEscaped:
            take_payload(value);
            return std::nullopt;
        case State::kChecksum1:
            high_digit_ = digit_of(value);
            state_ = State::kChecksum2;
            return std::nullopt;
        case State::kChecksum2:
            return finish(value);
    }
    return std::nullopt;
}

std::optional<Received> PacketReader::take_between(char byte) {
    if (byte == kInterrupt) return received::Interrupt{};
    if (byte == '-') return received::Nak{};
    if (byte == kBegin) begin();
    // An acknowledgement, or noise.
    return std::nullopt;
}

void PacketReader::begin() {
    state_ = State::kPayload;
    payload_.clear();
    is_bad_ = false;
    sum_ = 0;
}

void PacketReader::take_payload(char byte) {
    // Neither stands within a packet, escaped or not: one was cut off before.
    if (byte == kBegin) return begin();
    if (byte == kEnd) {
        // An escape with nothing behind it is none that anybody sends.
        is_bad_ = is_bad_ || state_ == State::kEscaped;
        state_ = State::kChecksum1;
        return;
    }
    sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(byte));
    if (state_ == State::kEscaped) {
        append(static_cast<char>(byte ^ kFlip));
        state_ = State::kPayload;
    } else if (byte == kEscape) {
        state_ = State::kEscaped;
    } else {
        append(byte);
    }
}

void PacketReader::append(char byte) {
    is_bad_ = is_bad_ || payload_.size() == kMostPacketBytes;
    if (!is_bad_) payload_ += byte;
}

Received PacketReader::finish(char byte) {
    state_ = State::kBetween;
    constexpr unsigned kBase = 16;
    const auto low_digit = digit_of(byte);
    const bool is_whole = high_digit_ && low_digit && *high_digit_ * kBase + *low_digit == sum_;
    if (!is_whole || is_bad_) return received::Damaged{};
    return received::Packet{std::move(payload_)};
}

}  // namespace ftvmm::debug
