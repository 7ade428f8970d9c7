// The interval timer: an 8254 and the port that shows and gates its channel 2.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::dev {

// Source: Intel 8254, 1993; port 0x61 as in the PIIX ("NMI status and control").
//
//   0x40 to 0x42   the channels' counters        0x43   control word, latch and read-back
//   0x61           bit 0 gate of channel 2, bit 1 speaker, bit 4 toggles every 18 ticks (refresh),
//                  bit 5 OUT of channel 2
//
// It ticks at 1193182 Hz, counted from guest time zero; a count starts with the tick at which it is
// written. Channel 0's OUT is line 0 of the 8259: advance() tells that it has risen, each rise by
// itself, so that whoever counts its ticks can be given those that came while it could take none.
// Channels 0 and 1 always have their gate high.
//
// Left out: a count written to a running channel takes effect at once, not with the next period
// (modes 2 and 3) or trigger (1 and 5); the speaker.
//
// Owned by the machine, used by the vCPU's thread alone.
class Pit8254 {
  public:
    static constexpr std::uint64_t kHz = 1'193'182;
    // Rises that may wait to be told: seconds of any tick in use. Who lacks more was stopped, and
    // has other ways to find out.
    static constexpr std::uint64_t kMostOwed = 1000;

    enum class Access : std::uint8_t { kLow = 1, kHigh = 2, kBoth = 3 };

    struct Channel {
        std::uint8_t mode = 0;  // 0 to 5.
        Access access = Access::kBoth;
        bool bcd = false;
        bool write_high = false;    // kBoth: the next byte written is the high one.
        bool read_high = false;     // kBoth: the next byte read is the high one.
        std::uint8_t low_byte = 0;  // kBoth: the low byte, until the high one is written.
        std::uint16_t reload = 0;   // As written; 0 is the largest count.
        bool loaded = false;        // A count has been written since the control word.
        bool triggered = false;     // Modes 1 and 5: the gate has risen since.
        bool gate = true;
        std::uint64_t since_tick = 0;  // Counting goes on since this tick, if the gate lets it;
        std::uint64_t counted = 0;     // what was counted before.
        std::uint64_t rises_seen = 0;  // Channel 0: rises of OUT that advance() has told.
        std::optional<std::uint16_t> latched_count = std::nullopt;
        std::optional<std::uint8_t> latched_status = std::nullopt;

        bool operator==(const Channel&) const = default;
    };

    struct State {
        std::array<Channel, 3> channels{Channel{}, Channel{}, Channel{.gate = false}};
        bool rise_due = false;          // A rise found by an access, for the next advance().
        std::uint8_t speaker_port = 0;  // The writable bits of port 0x61.

        bool operator==(const State&) const = default;
    };

    Pit8254() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<Pit8254> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // The guest's accesses to the five ports above; any other reads 0xff and ignores writes.
    std::uint8_t read(std::uint16_t port, GuestTime now);
    void write(std::uint16_t port, std::uint8_t value, GuestTime now);

    // True if OUT of channel 0 has risen once more than was told: one edge for line 0. A rise that
    // happened before a new count or mode is told once, however many they were.
    bool advance(GuestTime now);
    // Channel 0 counts as if it had been started at `then`, not later than it was. Only right after
    // its count was written.
    void start_earlier(GuestTime then);
    // Whether channel 0 ticks, and by now has ticked nobody's yet.
    [[nodiscard]] bool is_fresh_tick(GuestTime now) const;
    // When advance() next returns true, if nothing is written before; it may be past.
    [[nodiscard]] std::optional<GuestTime> next_deadline() const;

  private:
    explicit Pit8254(const State& state) : state_(state) {}
    void write_control(std::uint8_t value, std::uint64_t tick);
    void write_speaker_port(std::uint8_t value, std::uint64_t tick);

    State state_;
};

}  // namespace ftvmm::dev
