#include "vmm/dev/acpi_pm.h"

#include <utility>

#include "vmm/dev/bits.h"
#include "vmm/dev/ticks.h"

namespace ftvmm::dev {
namespace {

constexpr std::uint16_t kPowerButton = 0x0100;
constexpr std::uint16_t kWake = 0x8000;
constexpr std::uint16_t kStatusBits = kPowerButton | kWake;
// TMR, GBL, PWRBTN, SLPBTN, RTC and PCIEXP_WAKE_DIS can be set, whether they have an effect or not.
constexpr std::uint16_t kEnableBits = 0x4721;

constexpr std::uint16_t kSciEnabled = 0x0001;
constexpr std::uint16_t kControlBits = 0x1c02;  // SLP_TYP and BM_RLD.
constexpr std::uint8_t kSleepTypeHigh = 0x1c;   // In the high byte of PM1a_CNT.
constexpr std::uint8_t kSleepEnableHigh = 0x20;

constexpr std::uint8_t kResetControlBits = 0x0e;
constexpr std::uint8_t kResetCpu = 0x04;

// `word` with byte `n` replaced by `value`.
std::uint16_t with_byte(std::uint16_t word, unsigned n, std::uint8_t value) {
    const unsigned kept = word & ~(0xffU << (8 * n));
    return static_cast<std::uint16_t>(kept | static_cast<unsigned>(value) << (8 * n));
}

}  // namespace

Result<AcpiPm> AcpiPm::from_state(const State& state) {
    if ((state.status & ~kStatusBits) != 0 || (state.enable & ~kEnableBits) != 0 ||
        (state.control & ~kControlBits) != 0 || (state.reset_control & ~kResetControlBits) != 0) {
        return fail("ACPI power management: a register has bits that it has not");
    }
    return AcpiPm(state);
}

std::array<std::uint8_t, AcpiPm::kPorts> AcpiPm::image(GuestTime now) const {
    const std::uint64_t timer = ticks_at(now, kTimerHz);
    const std::uint16_t control = state_.control | kSciEnabled;
    return {byte_of(state_.status),
            byte_of(state_.status, 1),
            byte_of(state_.enable),
            byte_of(state_.enable, 1),
            byte_of(control),
            byte_of(control, 1),
            0,
            0,
            byte_of(timer),
            byte_of(timer, 1),
            byte_of(timer, 2),
            byte_of(timer, 3),
            0,
            0,
            0,
            0};
}

std::uint32_t AcpiPm::read(std::uint16_t port, std::uint8_t bytes, GuestTime now) const {
    if (port == kResetControlPort) return state_.reset_control;
    const auto registers = image(now);
    std::uint32_t value = 0;
    for (unsigned n = 0; n < bytes && n < 4; ++n) {
        const unsigned offset = port + n - kBase;
        if (offset < kPorts) value |= std::uint32_t{registers.at(offset)} << (8 * n);
    }
    return value;
}

void AcpiPm::write(std::uint16_t port, std::uint8_t bytes, std::uint32_t value) {
    for (unsigned n = 0; n < bytes && n < 4; ++n) {
        write_byte(static_cast<std::uint16_t>(port + n), byte_of(value, n));
    }
}

void AcpiPm::write_byte(std::uint16_t port, std::uint8_t value) {
    const unsigned half = port & 1;
    switch (port) {
        case kEventBlock:
        case kEventBlock + 1:
            state_.status &= static_cast<std::uint16_t>(~(unsigned{value} << (8 * half)));
            return;
        case kEventBlock + 2:
        case kEventBlock + 3:
            state_.enable = with_byte(state_.enable, half, value) & kEnableBits;
            return;
        case kControlBlock:
            state_.control = with_byte(state_.control, 0, value) & kControlBits;
            return;
        case kControlBlock + 1:
            return write_control_high(value);
        case kFadtResetPort:
            if (value == kResetValue) events_.reset = true;
            return;
        case kResetControlPort:
            state_.reset_control = value & kResetControlBits;
            if ((value & kResetCpu) != 0) events_.reset = true;
            return;
        default:
            return;
    }
}

void AcpiPm::write_control_high(std::uint8_t value) {
    state_.control = with_byte(state_.control, 1, value) & kControlBits;
    if ((value & kSleepEnableHigh) == 0) return;
    if ((value & kSleepTypeHigh) >> 2 == kSleepTypeS5) {
        events_.power_off = true;
    } else {
        state_.status |= kWake;
    }
}

void AcpiPm::press() {
    state_.status |= kPowerButton;
}

AcpiPm::Events AcpiPm::take_events() {
    return std::exchange(events_, Events{});
}

}  // namespace ftvmm::dev
