// Each register file alone, from any State and under any accesses: it refuses the State or stays
// sane, its state is all that it remembers, and what it says of its next deadline comes true.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"
#include "state_from_bytes.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/pic_8259.h"
#include "vmm/dev/pit_8254.h"
#include "vmm/dev/rtc_cmos.h"
#include "vmm/dev/serial_16550.h"
#include "vmm/dev/ticks.h"
#include "vmm/dev/x2apic.h"

namespace ftvmm::fuzz {
namespace {

using namespace dev;
using Seen = std::vector<std::uint64_t>;

// Guest time, which goes on by steps of any length.
class Clock {
  public:
    explicit Clock(FuzzInput& input)
        : now_ns_(static_cast<std::int64_t>(input.take_bool() ? input.take<std::uint32_t>() : 0)) {}

    [[nodiscard]] GuestTime now() const { return at_ns(now_ns_); }
    void go_on(FuzzInput& input) {
        const std::uint8_t how = input.below(4);
        std::uint64_t step = how < 2 ? input.take<std::uint16_t>() : input.take<std::uint32_t>();
        if (how == 3) step <<= 24U;
        go_to(at_ns(now_ns_ + static_cast<std::int64_t>(step)));
    }
    void go_to(GuestTime at) { now_ns_ = std::clamp(ns_of(at), now_ns_, kMaxGuestNs); }

  private:
    std::int64_t now_ns_;
};

// How each device is used: one step of it, which shows what it shows. Those with a timer also say
// whether a State is of a time after `now`, which is for the platform to refuse, and how time
// passes.
template <class Device>
struct Use;

template <>
struct Use<Serial16550> {
    static void step(Serial16550& port, FuzzInput& input, const Clock& /*clock*/, Seen& seen) {
        const std::uint8_t what = input.take<std::uint8_t>();
        if (what < 0x40) {
            seen.push_back(port.read(what));
        } else if (what < 0xc0) {
            port.write(what, input.take<std::uint8_t>());
        } else {
            const std::vector<std::uint8_t> bytes(what & 0x1fU, what);
            const std::size_t taken = port.receive(bytes);
            FTVMM_CHECK(taken <= bytes.size(), "no more is taken than there is");
            seen.push_back(taken);
        }
        for (const std::uint8_t byte : port.take_output())
            seen.push_back(byte);
        seen.push_back(port.irq_level() ? 1 : 0);
    }
};

template <>
struct Use<Pic8259> {
    static void step(Pic8259& pic, FuzzInput& input, const Clock& /*clock*/, Seen& seen) {
        static constexpr std::array<std::uint16_t, 7> kPorts{0x20,  0x21,  0xa0, 0xa1,
                                                             0x4d0, 0x4d1, 0x22};
        const std::uint8_t what = input.take<std::uint8_t>();
        const std::uint16_t port = kPorts.at(what % kPorts.size());
        if (what < 0x40) {
            seen.push_back(pic.read(port));
        } else if (what < 0x80) {
            pic.write(port, input.take<std::uint8_t>());
        } else if (what < 0xc0) {
            const unsigned line = what & 0xfU;
            if (line != Pic8259::kCascadeLine) pic.set_line(line, (what & 0x10U) != 0);
        } else {
            const auto pending = pic.pending();
            const std::uint8_t vector = pic.acknowledge();
            FTVMM_CHECK(!pending || *pending == vector, "the vector that was pending is taken");
            seen.push_back(vector);
        }
        seen.push_back(pic.pending().value_or(0x100));
    }
};

template <>
struct Use<AcpiPm> {
    static void step(AcpiPm& acpi, FuzzInput& input, const Clock& clock, Seen& seen) {
        const std::uint8_t what = input.take<std::uint8_t>();
        const auto port = static_cast<std::uint16_t>(
            (what & 0x1fU) == 0x1f ? AcpiPm::kResetControlPort
                                   : AcpiPm::kBase + (what & 0x1fU) % AcpiPm::kPorts);
        const auto size = static_cast<std::uint8_t>(
            port == AcpiPm::kResetControlPort ? 1 : 1U << (what >> 5U & 1U) * 2U);
        if (what < 0x60) {
            seen.push_back(acpi.read(port, size, clock.now()));
        } else if (what < 0xe0) {
            acpi.write(port, size, input.take<std::uint32_t>());
        } else {
            acpi.press();
        }
        const auto events = acpi.take_events();
        for (const bool flag : {events.power_off, events.reset, acpi.sci_level()})
            seen.push_back(flag ? 1 : 0);
    }
};

template <>
struct Use<Pit8254> {
    static void step(Pit8254& pit, FuzzInput& input, const Clock& clock, Seen& seen) {
        static constexpr std::array<std::uint16_t, 6> kPorts{0x40, 0x41, 0x42, 0x43, 0x61, 0x62};
        const std::uint8_t what = input.take<std::uint8_t>();
        const std::uint16_t port = kPorts.at(what % kPorts.size());
        if (what < 0x60) {
            seen.push_back(pit.read(port, clock.now()));
        } else {
            pit.write(port, input.take<std::uint8_t>(), clock.now());
        }
        // An access may find that a count has ended: as in the machine, it is dealt with at once.
        seen.push_back(advance(pit, clock.now()) ? 1 : 0);
    }
    static bool is_later(const Pit8254::State& state, GuestTime now) {
        return std::ranges::any_of(state.channels, [&](const Pit8254::Channel& channel) {
            return channel.since_tick > ticks_at(now, Pit8254::kHz);
        });
    }
    // Whether the timer has shown at its line what it waited for. It tells its rises one by one.
    static bool advance(Pit8254& pit, GuestTime now) {
        std::uint64_t told = 0;
        while (pit.advance(now))
            ++told;
        FTVMM_CHECK(told <= Pit8254::kMostOwed + 1, "no more is made up for than is said");
        return told > 0;
    }
};

template <>
struct Use<RtcCmos> {
    static void step(RtcCmos& rtc, FuzzInput& input, const Clock& clock, Seen& seen) {
        const std::uint8_t what = input.take<std::uint8_t>();
        if (what < 0x40) {
            seen.push_back(rtc.read(RtcCmos::kDataPort, clock.now()));
        } else if (what < 0xa0) {
            // Most of the bytes have no meaning.
            const std::uint8_t index = what < 0x60 ? what & 0xfU : input.take<std::uint8_t>();
            rtc.write(RtcCmos::kIndexPort, index, clock.now());
        } else if (what < 0xf0) {
            rtc.write(RtcCmos::kDataPort, input.take<std::uint8_t>(), clock.now());
        } else {
            const std::chrono::nanoseconds at(
                static_cast<std::int64_t>(input.take<std::uint64_t>()));
            rtc.set_wall_clock(std::chrono::sys_time<std::chrono::nanoseconds>(at), clock.now());
        }
        seen.push_back(rtc.irq_level() ? 1 : 0);
    }
    static bool is_later(const RtcCmos::State& state, GuestTime now) {
        return state.advanced_ns > ns_of(now);
    }
    static bool advance(RtcCmos& rtc, GuestTime now) {
        rtc.advance(now);
        return rtc.irq_level();
    }
};

template <>
struct Use<X2Apic> {
    static void step(X2Apic& apic, FuzzInput& input, const Clock& clock, Seen& seen) {
        const std::uint8_t what = input.take<std::uint8_t>();
        const std::uint32_t msr = X2Apic::kFirstMsr + (what & 0x3fU);
        if (what < 0x40) {
            seen.push_back(apic.read(msr, clock.now()).value_or(UINT64_MAX));
        } else if (what < 0xc0) {
            const std::uint64_t value =
                (what & 0x80U) != 0 ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
            seen.push_back(apic.write(msr, value, clock.now()) ? 1 : 0);
        } else if (what < 0xd0) {
            seen.push_back(apic.accept(input.take<std::uint8_t>()) ? 1 : 0);
        } else if (what < 0xf0) {
            const auto pending = apic.pending();
            const std::uint8_t vector = apic.acknowledge();
            FTVMM_CHECK(!pending || *pending == vector, "the vector that was pending is taken");
            seen.push_back(vector);
        } else if (apic.may_elide_eoi()) {
            apic.elided_eoi();
        }
        seen.insert(seen.end(), {apic.take_nmi() ? 1U : 0U, apic.accepts_extint() ? 1U : 0U,
                                 std::uint64_t{apic.pending().value_or(0)}});
    }
    static bool repeats(const X2Apic::State& state) {
        constexpr std::size_t kTimer = 0;
        constexpr std::uint32_t kPeriodic = 1U << 17U;
        return (state.lvt.at(kTimer) & kPeriodic) != 0;
    }
    static bool is_later(const X2Apic::State& state, GuestTime now) {
        return state.period_start_ns > ns_of(now);
    }
    // A vector may be requested already, or none: that the timer has run out shows in its deadline.
    static bool advance(X2Apic& apic, GuestTime now) {
        const auto due = apic.next_deadline();
        (void)apic.advance(now);
        return due != apic.next_deadline();
    }
    // How many of its periods have ended untold. Past kMostOwed, what is forgotten depends on when
    // it was looked at.
    static std::int64_t owed(const X2Apic::State& state, GuestTime now) {
        const unsigned code = (state.divide >> 1U & 4U) | (state.divide & 3U);
        const std::int64_t period = std::int64_t{state.initial_count} << ((code + 1) & 7U);
        return state.timer_runs ? (ns_of(now) - state.period_start_ns) / period : 0;
    }
};

template <class Device>
concept Timed = requires(const Device& device) {
    device.next_deadline();
};

// The guest has just taken a periodic tick, and the next is owed since before: due at once, and
// told by one look.
template <Timed Device>
void tell_what_was_held(Device& device, GuestTime now) {
    const auto due = device.next_deadline();
    if (!due || *due > now || device.holds_tick()) return;
    FTVMM_CHECK(Use<Device>::repeats(device.state()),
                "what happens once has happened when it was due");
    FTVMM_CHECK(Use<Device>::advance(device, now), "a tick that is owed is told when it can be");
}

// Lets the time pass, and holds what happens against what was foretold. By way of a look in between
// or not, the same comes of it.
template <Timed Device>
void pass_time(Device& device, FuzzInput& input, Clock& clock) {
    bool is_held = false;
    if constexpr (requires { device.holds_tick(); }) {
        tell_what_was_held(device, clock.now());
        is_held = device.holds_tick();
    }
    const auto due = device.next_deadline();
    FTVMM_CHECK(!due || *due > clock.now() || is_held, "what was due by now has happened");
    const bool is_to_deadline =
        input.take_bool() && due && *due > clock.now() && !is_held && *due <= at_ns(kMaxGuestNs);
    if (is_to_deadline) {
        clock.go_to(*due);
    } else {
        clock.go_on(input);
    }
    Device looked_at = device;
    const GuestTime between = clock.now() - GuestTime::duration(1 + input.take<std::uint16_t>());
    const bool is_before = Use<Device>::advance(looked_at, between);
    FTVMM_CHECK(!is_to_deadline || !is_before || between < at_ns(0),
                "nothing happens before the deadline");
    const bool is_after = Use<Device>::advance(looked_at, clock.now());
    bool is_comparable = true;
    if constexpr (requires { Use<Device>::owed(device.state(), clock.now()); }) {
        is_comparable = Use<Device>::owed(device.state(), clock.now()) <= Device::kMostOwed;
    }
    const bool is_now = Use<Device>::advance(device, clock.now());
    FTVMM_CHECK(!is_to_deadline || is_now, "what was foretold has happened");
    FTVMM_CHECK(!is_comparable ||
                    ((is_before || is_after) == is_now && looked_at.state() == device.state()),
                "a look in between changes nothing");
}

template <class Device>
Device take_device(FuzzInput& input, const Clock& clock) {
    if (!input.take_bool()) return Device();
    typename Device::State state;
    change_fields(state, input);
    const auto device = Device::from_state(state);
    if (!device) return Device();
    FTVMM_CHECK(device->state() == state, "a state is taken over whole");
    if constexpr (Timed<Device>) {
        if (Use<Device>::is_later(state, clock.now())) return Device();
    }
    return *device;
}

template <class Device>
void run(FuzzInput input) {
    Clock clock(input);
    Device original = take_device<Device>(input, clock);
    if constexpr (Timed<Device>) (void)Use<Device>::advance(original, clock.now());
    Device restored = original;
    while (!input.empty()) {
        const std::uint8_t what = input.below(8);
        if (what == 0) {
            const auto again = Device::from_state(original.state());
            FTVMM_CHECK(again, "the state of a device is one that a device can be in");
            restored = *again;
        }
        if constexpr (Timed<Device>) {
            if (what < 3) {
                FuzzInput same = input;
                Clock same_clock = clock;
                pass_time(restored, same, same_clock);
                pass_time(original, input, clock);
            }
        }
        Seen expected;
        Seen seen;
        FuzzInput same = input;
        Use<Device>::step(original, same, clock, expected);
        Use<Device>::step(restored, input, clock, seen);
        FTVMM_CHECK(seen == expected && original.state() == restored.state(),
                    "a device that was restored does what the one it comes from does");
    }
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace ftvmm::fuzz;
    FuzzInput input({data, size});
    switch (input.below(6)) {
        case 0:
            run<ftvmm::dev::Serial16550>(input);
            break;
        case 1:
            run<ftvmm::dev::Pic8259>(input);
            break;
        case 2:
            run<ftvmm::dev::AcpiPm>(input);
            break;
        case 3:
            run<ftvmm::dev::Pit8254>(input);
            break;
        case 4:
            run<ftvmm::dev::RtcCmos>(input);
            break;
        default:
            run<ftvmm::dev::X2Apic>(input);
            break;
    }
    return 0;
}
