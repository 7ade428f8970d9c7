#include "vmm/dev/pit_8254.h"

#include <algorithm>
#include <utility>

#include "vmm/dev/bits.h"
#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

using Access = Pit8254::Access;
using Channel = Pit8254::Channel;

constexpr std::uint16_t kControlPort = 0x43;
constexpr std::uint16_t kSpeakerPort = 0x61;
constexpr std::uint8_t kSpeakerBits = 0x0f;
constexpr std::uint8_t kGate2 = 0x01;
constexpr std::uint64_t kRefreshTicks = 18;  // 15 us.

constexpr std::uint64_t kMaxTick = ticks_at(at_ns(kMaxGuestNs), Pit8254::kHz);

std::uint64_t modulus(const Channel& channel) {
    return channel.bcd ? 10'000 : 65'536;
}

// The count that was written: 1 to the modulus.
std::uint64_t length(const Channel& channel) {
    if (channel.reload == 0) return modulus(channel);
    if (!channel.bcd) return channel.reload;
    const unsigned reload = channel.reload;
    const std::uint64_t decimal =
        (reload >> 12) * 1000 + (reload >> 8 & 15) * 100 + (reload >> 4 & 15) * 10 + (reload & 15);
    return decimal;
}

bool repeats(const Channel& channel) {
    return channel.mode == 2 || channel.mode == 3;
}
bool needs_trigger(const Channel& channel) {
    return channel.mode == 1 || channel.mode == 5;
}

bool counts(const Channel& channel) {
    if (!channel.loaded) return false;
    return needs_trigger(channel) ? channel.triggered : channel.gate;
}

std::uint64_t elapsed(const Channel& channel, std::uint64_t tick) {
    if (!counts(channel) || tick < channel.since_tick) return channel.counted;
    return channel.counted + (tick - channel.since_tick);
}

// The tick of the period, or of the one run, at which OUT rises.
std::uint64_t rise_after(const Channel& channel) {
    const bool strobes = channel.mode == 4 || channel.mode == 5;
    return length(channel) + (strobes ? 1 : 0);
}

// How often OUT has risen since the count was written.
std::uint64_t rises(const Channel& channel, std::uint64_t tick) {
    const std::uint64_t now = elapsed(channel, tick);
    if (repeats(channel)) return now / length(channel);
    return now >= rise_after(channel) ? 1 : 0;
}

bool output(const Channel& channel, std::uint64_t tick) {
    const std::uint64_t now = elapsed(channel, tick);
    const std::uint64_t count = length(channel);
    switch (channel.mode) {
        case 0:
            return channel.loaded && now >= count;
        case 1:
            return !counts(channel) || now >= count;
        case 2:
            return !counts(channel) || now % count != count - 1;
        case 3:
            return !counts(channel) || now % count < (count + 1) / 2;
        default:
            return !counts(channel) || now != count;
    }
}

std::uint16_t to_bcd(std::uint64_t value) {
    return static_cast<std::uint16_t>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 |
                                      value / 10 % 10 << 4 | value % 10);
}

// What the counting element holds.
std::uint16_t counter(const Channel& channel, std::uint64_t tick) {
    const std::uint64_t now = elapsed(channel, tick);
    const std::uint64_t count = length(channel);
    std::uint64_t value = 0;
    if (channel.mode == 3) {
        value = count - 2 * now % count;  // Counts by two, twice a period.
    } else if (channel.mode == 2) {
        value = count - now % count;
    } else {
        // After its end the counter goes on from the largest value.
        const std::uint64_t size = modulus(channel);
        value = count % size + size - now % size;
    }
    value %= modulus(channel);
    return channel.bcd ? to_bcd(value) : static_cast<std::uint16_t>(value);
}

std::uint8_t status(const Channel& channel, std::uint64_t tick) {
    unsigned value = static_cast<unsigned>(channel.access) << 4 | unsigned{channel.mode} << 1;
    if (output(channel, tick)) value |= 0x80;
    if (!channel.loaded) value |= 0x40;
    if (channel.bcd) value |= 0x01;
    return byte_of(value);
}

void latch_count(Channel& channel, std::uint64_t tick) {
    // A second latch before the first was read is ignored (8254, "Counter Latch Command").
    if (!channel.latched_count) channel.latched_count = counter(channel, tick);
}

void restart(Channel& channel, std::uint64_t tick) {
    channel.since_tick = tick;
    channel.counted = 0;
    channel.rises_seen = 0;
}

void load(Channel& channel, std::uint16_t count, std::uint64_t tick) {
    channel.reload = count;
    channel.loaded = true;
    // A new count ends a triggered run (modes 1 and 5) and waits for the next trigger.
    channel.triggered = false;
    restart(channel, tick);
}

void write_counter(Channel& channel, std::uint8_t value, std::uint64_t tick) {
    const auto high = static_cast<std::uint16_t>(value << 8);
    if (channel.access == Access::kLow) return load(channel, value, tick);
    if (channel.access == Access::kHigh) return load(channel, high, tick);
    channel.write_high = !channel.write_high;
    if (channel.write_high) {
        channel.low_byte = value;
        // In mode 0 the first byte stops the counting.
        if (channel.mode == 0) {
            channel.loaded = false;
            restart(channel, tick);
        }
        return;
    }
    load(channel, high | std::exchange(channel.low_byte, std::uint8_t{0}), tick);
}

std::uint8_t read_counter(Channel& channel, std::uint64_t tick) {
    if (channel.latched_status) {
        return *std::exchange(channel.latched_status, std::nullopt);
    }
    const std::uint16_t count = channel.latched_count.value_or(counter(channel, tick));
    if (channel.access == Access::kBoth) channel.read_high = !channel.read_high;
    // A latched count is held until its last byte has been read.
    if (channel.access != Access::kBoth || !channel.read_high) channel.latched_count.reset();
    const bool high =
        channel.access == Access::kHigh || (channel.access == Access::kBoth && !channel.read_high);
    return byte_of(count, high ? 1 : 0);
}

void set_gate(Channel& channel, bool gate, std::uint64_t tick) {
    if (gate == channel.gate) return;
    // What was counted so far stands while the gate is low (modes 0 and 4).
    channel.counted = elapsed(channel, tick);
    channel.since_tick = tick;
    channel.gate = gate;
    if (!gate || !channel.loaded) return;
    if (needs_trigger(channel)) channel.triggered = true;
    if (needs_trigger(channel) || repeats(channel)) restart(channel, tick);
}

Result<void> validate(const Channel& channel) {
    const auto access = static_cast<unsigned>(channel.access);
    if (channel.mode > 5 || access < 1 || access > 3) return fail("interval timer: bad mode");
    const bool half = channel.write_high || channel.read_high;
    if (half && channel.access != Access::kBoth) return fail("interval timer: half a count");
    if (channel.low_byte != 0 && !channel.write_high) return fail("interval timer: a stray byte");
    if (channel.triggered && !(channel.loaded && needs_trigger(channel))) {
        return fail("interval timer: a trigger without a count");
    }
    if (channel.since_tick > kMaxTick || channel.counted > kMaxTick ||
        channel.rises_seen > kMaxTick / length(channel)) {
        return fail("interval timer: a count outside of time");
    }
    return {};
}

}  // namespace

Result<Pit8254> Pit8254::from_state(const State& state) {
    for (const Channel& channel : state.channels)
        FTVMM_TRY(validate(channel));
    const bool gated = !state.channels[0].gate || !state.channels[1].gate;
    if (gated || state.channels[0].counted != 0 || state.channels[1].counted != 0) {
        return fail("interval timer: channels 0 and 1 have no gate to close");
    }
    const bool gate2 = (state.speaker_port & kGate2) != 0;
    if ((state.speaker_port & ~kSpeakerBits) != 0 || state.channels[2].gate != gate2) {
        return fail("interval timer: port 0x61 and the gate of channel 2 disagree");
    }
    return Pit8254(state);
}

bool Pit8254::advance(GuestTime now) {
    if (std::exchange(state_.rise_due, false)) return true;
    Channel& channel = state_.channels[0];
    const std::uint64_t risen = rises(channel, ticks_at(now, kHz));
    if (risen <= channel.rises_seen) return false;
    if (risen - channel.rises_seen > kMostOwed) channel.rises_seen = risen - kMostOwed;
    ++channel.rises_seen;
    return true;
}

bool Pit8254::is_fresh_tick(GuestTime now) const {
    const Channel& channel = state_.channels[0];
    return repeats(channel) && channel.loaded && channel.since_tick == ticks_at(now, kHz);
}

void Pit8254::start_earlier(GuestTime then) {
    Channel& channel = state_.channels[0];
    channel.since_tick = std::min(channel.since_tick, ticks_at(then, kHz));
}

std::optional<GuestTime> Pit8254::next_deadline() const {
    const Channel& channel = state_.channels[0];
    if (state_.rise_due) return GuestTime{};  // Already.
    if (!counts(channel)) return std::nullopt;
    if (!repeats(channel) && channel.rises_seen > 0) return std::nullopt;
    const std::uint64_t rise =
        rise_after(channel) + (repeats(channel) ? channel.rises_seen * length(channel) : 0);
    return time_of_tick(channel.since_tick + rise - channel.counted, kHz);
}

std::uint8_t Pit8254::read(std::uint16_t port, GuestTime now) {
    const std::uint64_t tick = ticks_at(now, kHz);
    if (port >= 0x40 && port < kControlPort) {
        return read_counter(state_.channels.at(port - 0x40U), tick);
    }
    if (port != kSpeakerPort) return 0xff;
    std::uint8_t value = state_.speaker_port;
    if (tick / kRefreshTicks % 2 != 0) value |= 0x10;
    if (output(state_.channels[2], tick)) value |= 0x20;
    return value;
}

void Pit8254::write(std::uint16_t port, std::uint8_t value, GuestTime now) {
    const std::uint64_t tick = ticks_at(now, kHz);
    const Channel before = state_.channels[0];
    if (port >= 0x40 && port < kControlPort) {
        write_counter(state_.channels.at(port - 0x40U), value, tick);
    } else if (port == kControlPort) {
        write_control(value, tick);
    } else if (port == kSpeakerPort) {
        write_speaker_port(value, tick);
    }
    const Channel& after = state_.channels[0];
    const bool counts_anew = after.rises_seen != before.rises_seen ||
                             after.since_tick != before.since_tick || after.mode != before.mode;
    if (counts_anew && rises(before, tick) > before.rises_seen) state_.rise_due = true;
}

void Pit8254::write_control(std::uint8_t value, std::uint64_t tick) {
    const unsigned select = value >> 6;
    if (select == 3) {
        // Read-back: bits 5 and 4 low latch count and status, bits 3 to 1 choose channels.
        for (unsigned n = 0; n < 3; ++n) {
            Channel& channel = state_.channels.at(n);
            if ((value & bit(n + 1)) == 0) continue;
            if ((value & 0x20) == 0) latch_count(channel, tick);
            if ((value & 0x10) == 0 && !channel.latched_status) {
                channel.latched_status = status(channel, tick);
            }
        }
        return;
    }
    Channel& channel = state_.channels.at(select);
    const unsigned access = value >> 4 & 3;
    if (access == 0) return latch_count(channel, tick);
    Channel fresh;
    fresh.gate = channel.gate;
    fresh.access = static_cast<Access>(access);
    fresh.mode = value >> 1 & 7;
    if (fresh.mode > 5) fresh.mode &= 3;  // 6 and 7 are 2 and 3.
    fresh.bcd = (value & 1) != 0;
    fresh.since_tick = tick;
    channel = fresh;
}

void Pit8254::write_speaker_port(std::uint8_t value, std::uint64_t tick) {
    state_.speaker_port = value & kSpeakerBits;
    set_gate(state_.channels[2], (value & kGate2) != 0, tick);
}

}  // namespace ftvmm::dev
