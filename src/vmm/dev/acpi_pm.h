// ACPI's fixed hardware: power button, sleep, the PM timer and reset.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.h"
#include "base/result.h"

namespace ftvmm::dev {

// Source: ACPI 6.5, 4.8 "ACPI Register Model"; port 0xcf9 as in the PIIX3 (82371SB, 2.5.20).
//
//   0x600  PM1a_STS   16 bits, a one written clears          0x60c  reset register of the FADT:
//   0x602  PM1a_EN    16 bits                                       kResetValue resets
//   0x604  PM1a_CNT   16 bits, SCI_EN always 1               0xcf9  bit 2 resets, so 0x06 and 0x0e
//   0x608  PM_TMR     32 bits, 3.579545 MHz, read only
//
// The SCI is up while an enabled status bit is set. SLP_EN with kSleepTypeS5 powers off; with any
// other type, none of which the machine describes, the guest is awake again at once (WAK_STS).
//
// Left out: TMR_STS, which would rise every ten minutes (no system enables it beside another
// clock), the RTC's and the sleep button's status, and general purpose events.
//
// Owned by the machine, used by the vCPU's thread alone.
class AcpiPm {
  public:
    static constexpr std::uint16_t kBase = 0x600;
    static constexpr std::uint16_t kPorts = 16;
    static constexpr std::uint16_t kEventBlock = 0x600;
    static constexpr std::uint16_t kControlBlock = 0x604;
    static constexpr std::uint16_t kTimerBlock = 0x608;
    static constexpr std::uint16_t kFadtResetPort = 0x60c;
    static constexpr std::uint8_t kResetValue = 0x01;
    // One byte inside PCI's CONFIG_ADDRESS, which is reached by four-byte accesses to 0xcf8 alone.
    static constexpr std::uint16_t kResetControlPort = 0xcf9;
    static constexpr std::uint8_t kSleepTypeS5 = 5;
    static constexpr std::uint64_t kTimerHz = 3'579'545;

    struct State {
        std::uint16_t status = 0;
        std::uint16_t enable = 0;
        std::uint16_t control = 0;  // As written: without SCI_EN and SLP_EN.
        std::uint8_t reset_control = 0;

        bool operator==(const State&) const = default;
    };

    // What the guest has asked the machine for.
    struct Events {
        bool power_off = false;
        bool reset = false;

        bool operator==(const Events&) const = default;
    };

    AcpiPm() = default;
    // Refuses a state that no sequence of accesses can lead to.
    static Result<AcpiPm> from_state(const State& state);
    // Events that were not taken are no part of it: take them first.
    [[nodiscard]] const State& state() const { return state_; }

    // The guest's accesses of 1, 2 or 4 bytes at `port`; bytes in no register read 0.
    [[nodiscard]] std::uint32_t read(std::uint16_t port, std::uint8_t bytes, GuestTime now) const;
    void write(std::uint16_t port, std::uint8_t bytes, std::uint32_t value);

    // Somebody presses the power button.
    void press();
    // The system control interrupt's level.
    [[nodiscard]] bool sci_level() const { return (state_.status & state_.enable) != 0; }
    // What happened since the last call.
    [[nodiscard]] Events take_events();

  private:
    explicit AcpiPm(const State& state) : state_(state) {}
    [[nodiscard]] std::array<std::uint8_t, kPorts> image(GuestTime now) const;
    void write_byte(std::uint16_t port, std::uint8_t value);
    void write_control_high(std::uint8_t value);

    State state_;
    Events events_;
};

}  // namespace ftvmm::dev
