// GDB's remote protocol between bytes and packets ("Remote Protocol" in GDB's manual).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace ftvmm::debug {

// The longest packet, between its frame: what GDB is told, and far more than it sends.
inline constexpr std::size_t kMostPacketBytes = 16384;

// "$payload#checksum", with what may not stand in a packet escaped.
[[nodiscard]] std::string framed(std::string_view payload);

namespace received {

struct Packet {
    std::string payload;  // Unescaped.
};
struct Damaged {};    // A packet with another checksum, or a longer one than any may be.
struct Interrupt {};  // Ctrl-C.
struct Nak {};        // The other side got a packet damaged and wants it again.

}  // namespace received

using Received =
    std::variant<received::Packet, received::Damaged, received::Interrupt, received::Nak>;

// Takes a stream apart, whatever its bytes are. It keeps no more than one packet.
class PacketReader {
  public:
    // What this byte completes, if anything.
    [[nodiscard]] std::optional<Received> take(std::byte byte);

  private:
    enum class State : std::uint8_t { kBetween, kPayload, kEscaped, kChecksum1, kChecksum2 };

    [[nodiscard]] std::optional<Received> take_between(char byte);
    void take_payload(char byte);
    void begin();
    void append(char byte);
    [[nodiscard]] Received finish(char byte);

    State state_ = State::kBetween;
    std::string payload_;
    bool is_bad_ = false;  // Too long, or its last escape escapes nothing.
    std::uint8_t sum_ = 0;
    std::optional<unsigned> high_digit_;  // Of the checksum; nothing: it is no digit.
};

}  // namespace ftvmm::debug
