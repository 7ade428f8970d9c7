#include "vmm/dev/rtc_cmos.h"

#include <algorithm>
#include <utility>

#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

constexpr std::uint8_t kSecond = 0x00;
constexpr std::uint8_t kSecondAlarm = 0x01;
constexpr std::uint8_t kMinute = 0x02;
constexpr std::uint8_t kMinuteAlarm = 0x03;
constexpr std::uint8_t kHour = 0x04;
constexpr std::uint8_t kHourAlarm = 0x05;
constexpr std::uint8_t kWeekday = 0x06;
constexpr std::uint8_t kDay = 0x07;
constexpr std::uint8_t kMonth = 0x08;
constexpr std::uint8_t kYear = 0x09;
constexpr std::uint8_t kRegisterA = 0x0a;
constexpr std::uint8_t kRegisterB = 0x0b;
constexpr std::uint8_t kRegisterC = 0x0c;
constexpr std::uint8_t kRegisterD = 0x0d;
constexpr std::uint8_t kCentury = 0x32;
constexpr std::uint8_t kIndexBits = 0x7f;

constexpr std::uint8_t kUpdateInProgress = 0x80;  // Register A.
constexpr std::uint8_t kDividerReset = 0x60;
constexpr std::uint8_t kRate = 0x0f;

constexpr std::uint8_t kSet = 0x80;  // Register B; 0x70 enable the interrupts of C's flags.
constexpr std::uint8_t kUpdateEnable = 0x10;
constexpr std::uint8_t kBinary = 0x04;
constexpr std::uint8_t k24Hours = 0x02;

constexpr std::uint8_t kRequest = 0x80;  // Register C.
constexpr std::uint8_t kPeriodic = 0x40;
constexpr std::uint8_t kAlarm = 0x20;
constexpr std::uint8_t kUpdate = 0x10;
constexpr std::uint8_t kFlags = kPeriodic | kAlarm | kUpdate;

constexpr std::uint8_t kValid = 0x80;  // Register D: the battery is good.

constexpr std::uint8_t kAfternoon = 0x80;
constexpr std::uint8_t kAnyValue = 0xc0;  // An alarm byte that matches everything.
constexpr std::int64_t kUpdateNs = 244'000;
constexpr std::int64_t kDaySeconds = 86'400;
constexpr std::int64_t kLastSecond = 253'402'300'799;  // 9999-12-31 23:59:59.

bool is_time(std::uint8_t index) {
    const bool alarm = index == kSecondAlarm || index == kMinuteAlarm || index == kHourAlarm;
    return index == kCentury || (index <= kYear && !alarm);
}

// Seconds since 1970 of a date that may be none, brought to the nearest that is.
std::int64_t seconds_of(unsigned year, unsigned month, unsigned day) {
    using namespace std::chrono;
    const auto y = std::chrono::year(static_cast<int>(std::clamp(year, 1970U, 9999U)));
    const auto m = std::chrono::month(std::clamp(month, 1U, 12U));
    const unsigned last = static_cast<unsigned>(year_month_day_last(y, month_day_last(m)).day());
    const sys_days date = year_month_day(y, m, std::chrono::day(std::clamp(day, 1U, last)));
    return date.time_since_epoch().count() * kDaySeconds;
}

}  // namespace

std::array<std::uint8_t, 128> RtcCmos::initial_bytes() {
    std::array<std::uint8_t, 128> bytes{};
    bytes[kRegisterA] = 0x26;  // 32768 Hz, 1024 Hz periodic.
    bytes[kRegisterB] = k24Hours;
    bytes[kRegisterD] = kValid;
    return bytes;
}

Result<RtcCmos> RtcCmos::from_state(const State& state) {
    if (state.index > kIndexBits) return fail("real-time clock: no such byte");
    if ((state.bytes[kRegisterA] & kUpdateInProgress) != 0 ||
        (state.bytes[kRegisterC] & ~kFlags) != 0 || state.bytes[kRegisterD] != kValid) {
        return fail("real-time clock: a register has bits that it has not");
    }
    if (state.wall_seconds < 0 || state.wall_seconds > kLastSecond) {
        return fail("real-time clock: no such time");
    }
    constexpr std::int64_t kEarliest = -kNsPerSecond;  // A second may have begun before power-on.
    if (state.second_start_ns < kEarliest || state.second_start_ns > kMaxGuestNs ||
        state.advanced_ns < 0 || state.advanced_ns > kMaxGuestNs) {
        return fail("real-time clock: set outside of time");
    }
    return RtcCmos(state);
}

bool RtcCmos::stopped() const {
    return (state_.bytes[kRegisterB] & kSet) != 0 ||
           (state_.bytes[kRegisterA] & kDividerReset) == kDividerReset;
}

std::int64_t RtcCmos::seconds_at(std::int64_t ns) const {
    const std::int64_t gone = std::max<std::int64_t>(ns - state_.second_start_ns, 0);
    return std::min(state_.wall_seconds + gone / kNsPerSecond, kLastSecond);
}

std::uint8_t RtcCmos::encode(unsigned value) const {
    const bool binary = (state_.bytes[kRegisterB] & kBinary) != 0;
    return static_cast<std::uint8_t>(binary ? value : value / 10 << 4 | value % 10);
}

unsigned RtcCmos::decode(std::uint8_t value) const {
    if ((state_.bytes[kRegisterB] & kBinary) != 0) return value;
    return (value >> 4) * 10U + (value & 15U);
}

std::uint8_t RtcCmos::encode_hour(unsigned hour) const {
    if ((state_.bytes[kRegisterB] & k24Hours) != 0) return encode(hour);
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return encode(shown) | (hour >= 12 ? kAfternoon : std::uint8_t{0});
}

unsigned RtcCmos::decode_hour(std::uint8_t value) const {
    if ((state_.bytes[kRegisterB] & k24Hours) != 0) return decode(value);
    const unsigned shown = decode(value & 0x7f);
    return shown % 12 + ((value & kAfternoon) != 0 ? 12 : 0);
}

std::int64_t RtcCmos::wall_from_bytes() const {
    const auto& bytes = state_.bytes;
    const unsigned year = decode(bytes[kCentury]) * 100 + decode(bytes[kYear]);
    const std::int64_t date = seconds_of(year, decode(bytes[kMonth]), decode(bytes[kDay]));
    const std::int64_t hour = std::min(decode_hour(bytes[kHour]), 23U);
    const std::int64_t minute = std::min(decode(bytes[kMinute]), 59U);
    const std::int64_t second = std::min(decode(bytes[kSecond]), 59U);
    return date + hour * 3600 + minute * 60 + second;
}

void RtcCmos::bytes_from_wall(std::int64_t wall) {
    const auto days = std::chrono::sys_days(std::chrono::days(wall / kDaySeconds));
    const std::chrono::year_month_day date(days);
    const auto second = static_cast<unsigned>(wall % kDaySeconds);
    const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
    auto& bytes = state_.bytes;
    bytes[kSecond] = encode(second % 60);
    bytes[kMinute] = encode(second / 60 % 60);
    bytes[kHour] = encode_hour(second / 3600);
    bytes[kWeekday] = encode(std::chrono::weekday(days).c_encoding() + 1);
    bytes[kDay] = encode(static_cast<unsigned>(date.day()));
    bytes[kMonth] = encode(static_cast<unsigned>(date.month()));
    bytes[kYear] = encode(year % 100);
    bytes[kCentury] = encode(year / 100);
}

void RtcCmos::set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds> at, GuestTime now) {
    advance(now);
    // First of all, as the earliest times that nanoseconds can tell have no whole second.
    const auto time = std::max(at, std::chrono::sys_time<std::chrono::nanoseconds>());
    const auto second = std::chrono::floor<std::chrono::seconds>(time);
    const std::int64_t gone_ns = (time - second).count();
    state_.wall_seconds = std::min<std::int64_t>(second.time_since_epoch().count(), kLastSecond);
    state_.second_start_ns = std::clamp<std::int64_t>(ns_of(now), 0, kMaxGuestNs) - gone_ns;
    if (stopped()) bytes_from_wall(state_.wall_seconds);
}

std::uint64_t RtcCmos::periods_at(std::int64_t ns) const {
    const unsigned rate = state_.bytes[kRegisterA] & kRate;
    if (rate == 0) return 0;
    // Rates 1 and 2 are those of 8 and 9 (MC146818A, table 5).
    const unsigned shift = rate < 3 ? rate + 6 : rate - 1;
    return ticks_at(at_ns(ns), kOscillatorHz) >> shift;
}

// How many seconds after `after` the alarm first matches, at least 1; nothing if it never does.
std::optional<std::int64_t> RtcCmos::seconds_to_alarm(std::int64_t after) const {
    const auto& bytes = state_.bytes;
    const auto matches = [](std::uint8_t alarm, std::uint8_t byte) {
        return alarm >= kAnyValue || alarm == byte;
    };
    for (std::int64_t ahead = 1; ahead <= kDaySeconds;) {
        const auto second = static_cast<unsigned>((after + ahead) % kDaySeconds);
        // What does not match is skipped whole, so that this ends after some 150 steps.
        if (!matches(bytes[kHourAlarm], encode_hour(second / 3600))) {
            ahead += 3600 - second % 3600;
        } else if (!matches(bytes[kMinuteAlarm], encode(second / 60 % 60))) {
            ahead += 60 - second % 60;
        } else if (!matches(bytes[kSecondAlarm], encode(second % 60))) {
            ++ahead;
        } else {
            return ahead;
        }
    }
    return std::nullopt;
}

void RtcCmos::advance(GuestTime now) {
    const std::int64_t from = state_.advanced_ns;
    const std::int64_t to = std::min(ns_of(now), kMaxGuestNs);
    if (to <= from) return;
    state_.advanced_ns = to;
    std::uint8_t& flags = state_.bytes[kRegisterC];
    if (periods_at(to) > periods_at(from)) flags |= kPeriodic;
    if (stopped()) return;
    const std::int64_t before = seconds_at(from);
    const std::int64_t after = seconds_at(to);
    if (after == before) return;
    flags |= kUpdate;
    const auto alarm = seconds_to_alarm(before);
    if (alarm && before + *alarm <= after) flags |= kAlarm;
}

bool RtcCmos::irq_level() const {
    return (state_.bytes[kRegisterB] & state_.bytes[kRegisterC] & kFlags) != 0;
}

std::optional<GuestTime> RtcCmos::next_deadline() const {
    if (irq_level()) return std::nullopt;
    const std::uint8_t enabled = state_.bytes[kRegisterB];
    const unsigned rate = state_.bytes[kRegisterA] & kRate;
    std::optional<GuestTime> first;
    const auto consider = [&first](GuestTime at) { first = first ? std::min(*first, at) : at; };
    if ((enabled & kPeriodic) != 0 && rate != 0) {
        const unsigned shift = rate < 3 ? rate + 6 : rate - 1;
        consider(time_of_tick((periods_at(state_.advanced_ns) + 1) << shift, kOscillatorHz));
    }
    if (stopped()) return first;
    const std::int64_t current = seconds_at(state_.advanced_ns);
    const auto at_second = [this](std::int64_t wall) {
        return at_ns(state_.second_start_ns + (wall - state_.wall_seconds) * kNsPerSecond);
    };
    if (current == kLastSecond) return first;
    if ((enabled & kUpdateEnable) != 0) consider(at_second(current + 1));
    const auto alarm = (enabled & kAlarm) != 0 ? seconds_to_alarm(current) : std::nullopt;
    if (alarm) consider(at_second(current + *alarm));
    return first;
}

std::uint8_t RtcCmos::read(std::uint16_t port, GuestTime now) {
    advance(now);
    if (port != kDataPort) return 0xff;
    auto& bytes = state_.bytes;
    if (state_.index == kRegisterC) {
        const std::uint8_t request = irq_level() ? kRequest : std::uint8_t{0};
        return std::exchange(bytes[kRegisterC], std::uint8_t{0}) | request;
    }
    if (state_.index == kRegisterA && !stopped()) {
        const std::int64_t gone = std::max<std::int64_t>(ns_of(now) - state_.second_start_ns, 0);
        const bool soon = gone % kNsPerSecond >= kNsPerSecond - kUpdateNs;
        return bytes[kRegisterA] | (soon ? kUpdateInProgress : std::uint8_t{0});
    }
    if (is_time(state_.index) && !stopped()) bytes_from_wall(seconds_at(ns_of(now)));
    return bytes.at(state_.index);
}

void RtcCmos::write(std::uint16_t port, std::uint8_t value, GuestTime now) {
    advance(now);
    if (port == kIndexPort) {
        state_.index = value & kIndexBits;
    } else if (port == kDataPort) {
        write_byte(state_.index, value, std::clamp<std::int64_t>(ns_of(now), 0, kMaxGuestNs));
    }
}

void RtcCmos::write_byte(std::uint8_t index, std::uint8_t value, std::int64_t now) {
    if (index == kRegisterC || index == kRegisterD) return;
    if (index == kRegisterA || index == kRegisterB) return write_control(index, value, now);
    if (!is_time(index) || stopped()) {
        state_.bytes.at(index) = value;
        return;
    }
    // A running clock takes the byte at once and stays in step.
    const std::int64_t current = seconds_at(now);
    bytes_from_wall(current);
    state_.bytes.at(index) = value;
    state_.second_start_ns += (current - state_.wall_seconds) * kNsPerSecond;
    state_.wall_seconds = wall_from_bytes();
}

void RtcCmos::write_control(std::uint8_t index, std::uint8_t value, std::int64_t now) {
    const bool was_stopped = stopped();
    const bool was_reset = (state_.bytes[kRegisterA] & kDividerReset) == kDividerReset;
    if (!was_stopped) bytes_from_wall(seconds_at(now));
    if (index == kRegisterA) value &= static_cast<std::uint8_t>(~kUpdateInProgress);
    // SET ends an update and with it the update interrupt's enable (MC146818A, "SET").
    if (index == kRegisterB && (value & kSet) != 0) {
        value &= static_cast<std::uint8_t>(~kUpdateEnable);
    }
    state_.bytes.at(index) = value;
    if (!was_stopped || stopped()) return;
    state_.wall_seconds = wall_from_bytes();
    const std::int64_t gone = std::max<std::int64_t>(now - state_.second_start_ns, 0);
    const std::int64_t phase = was_reset ? kNsPerSecond / 2 : gone % kNsPerSecond;
    state_.second_start_ns = now - phase;
}

}  // namespace ftvmm::dev
