// The real-time clock with its battery-backed memory.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::dev {

// Source: Motorola MC146818A; the century in byte 0x32, as the FADT tells the guest. Port 0x70
// takes the index (bit 7, the NMI mask, is not kept and the port reads 0xff), port 0x71 the byte.
//
// The clock is what set_wall_clock() said, going on with guest time; nothing else knows the host's.
// A second begins at a guest time; UIP is set in the 244 us before. While register B's SET or the
// divider's reset is on, the clock stands still and its bytes are what the guest writes. It goes on
// from them: half a second before the next second after a divider reset, in step else. Bytes that
// are no date are brought to the nearest that is.
//
// Interrupts (line 8): update, alarm and periodic, level until register C is read. A line already
// up needs no deadline.
//
// Left out: daylight saving, the square wave output, an alarm on a day of the month.
//
// Owned by the machine, used by the vCPU's thread alone.
class RtcCmos {
  public:
    static constexpr std::uint16_t kIndexPort = 0x70;
    static constexpr std::uint16_t kDataPort = 0x71;
    static constexpr std::uint64_t kOscillatorHz = 32'768;

    struct State {
        std::uint8_t index = 0;
        // All 128 bytes. Those of the time mean something while the clock stands still; register A
        // is kept without UIP, register D is constant.
        std::array<std::uint8_t, 128> bytes = initial_bytes();
        std::int64_t wall_seconds = 0;  // Since 1970, at guest time second_start_ns.
        std::int64_t second_start_ns = 0;
        std::int64_t advanced_ns = 0;  // Flags are set up to here.

        bool operator==(const State&) const = default;
    };

    // 1970, running, 24 hours, BCD.
    RtcCmos() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<RtcCmos> from_state(const State& state);
    [[nodiscard]] const State& state() const { return state_; }

    // From `now` on it is `at`, clamped to 1970 to 9999.
    void set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds> at, GuestTime now);

    // The guest's accesses to the two ports.
    std::uint8_t read(std::uint16_t port, GuestTime now);
    void write(std::uint16_t port, std::uint8_t value, GuestTime now);

    // Sets the flags of what has happened up to `now`.
    void advance(GuestTime now);
    // When advance() next raises the line, or nothing.
    [[nodiscard]] std::optional<GuestTime> next_deadline() const;
    [[nodiscard]] bool irq_level() const;

  private:
    explicit RtcCmos(const State& state) : state_(state) {}
    static std::array<std::uint8_t, 128> initial_bytes();
    [[nodiscard]] bool stopped() const;
    [[nodiscard]] std::int64_t seconds_at(std::int64_t ns) const;
    [[nodiscard]] std::optional<std::int64_t> seconds_to_alarm(std::int64_t after) const;
    [[nodiscard]] std::uint64_t periods_at(std::int64_t ns) const;
    [[nodiscard]] std::uint8_t encode(unsigned value) const;
    [[nodiscard]] unsigned decode(std::uint8_t value) const;
    [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
    [[nodiscard]] unsigned decode_hour(std::uint8_t value) const;
    [[nodiscard]] std::int64_t wall_from_bytes() const;
    void bytes_from_wall(std::int64_t wall);
    void write_byte(std::uint8_t index, std::uint8_t value, std::int64_t now);
    void write_control(std::uint8_t index, std::uint8_t value, std::int64_t now);

    State state_;
};

}  // namespace ftvmm::dev
